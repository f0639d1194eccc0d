/* One colour and one dash for each optimiser, as in the figures of all lessons; a test compares
   them with docs/learn/figures.py. Dashes are lengths of line and gap, in widths of the line. */

export const PALETTE = {
  "SGD": { "color": "#777777", "dash": [6, 2, 1, 2] },
  "momentum": { "color": "#56b4e9", "dash": [4, 2, 1, 2, 1, 2] },
  "AdaGrad": { "color": "#009e73", "dash": [1, 2] },
  "RMSProp": { "color": "#c98a00", "dash": [3, 3] },
  "Adam": { "color": "#0072b2", "dash": [] }
};
