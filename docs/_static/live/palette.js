/* One colour and one dash for each optimiser, as in all figures of the project; a test compares
   them with adam_optax/_core/plotting.py. Dashes are lengths of line and gap, in widths of the
   line. */

export const PALETTE = {
  "SGD": { "color": "#5a5a5a", "dash": [10, 3] },
  "momentum": { "color": "#56b4e9", "dash": [2, 2] },
  "AdaGrad": { "color": "#009e73", "dash": [5, 2] },
  "RMSProp": { "color": "#e69f00", "dash": [6, 2, 1, 2] },
  "Adam": { "color": "#0072b2", "dash": [] }
};
