/* The five optimisers, for one weight: from a gradient to what is remembered, and to a step.

   `start` is what an optimiser remembers before the first step; `step` takes that, the gradient g,
   the number t of the step (1 at first) and the settings, and returns what is remembered then,
   the factors that correct averages for their start at zero, and the step, with its sign.
   Conventions are those of the Python library adam_optax; a test compares the numbers. */

const average = (b, mean, x) => b * mean + (1 - b) * x;

/* 1 - b^t by way of expm1: b^t is near 1 at first, and the difference would lose digits. */
const oneMinusPower = (b, t) => (b > 0 ? -Math.expm1(t * Math.log(b)) : 1);

const correction = (b, t, wanted) => (wanted ? 1 / oneMinusPower(b, t) : 1);

export const OPTIMIZERS = {
  SGD: {
    start: {},
    step: (_, g, t, { rate }) => ({ step: -rate * g }),
  },

  momentum: {
    start: { mu: 0 },
    step({ mu }, g, t, { rate, b1 }) {
      mu = b1 * mu + g; // a sum, with no factor 1 - b1
      return { mu, step: -rate * mu };
    },
  },

  AdaGrad: {
    start: { nu: 0.1 },
    step({ nu }, g, t, { rate, eps }) {
      nu = nu + g * g;
      return { nu, step: (-rate * g) / Math.sqrt(nu + eps) };
    },
  },

  RMSProp: {
    start: { nu: 0 },
    step({ nu }, g, t, { rate, b2, eps, corrected }) {
      nu = average(b2, nu, g * g);
      const nuFactor = correction(b2, t, corrected);
      return { nu, nuFactor, step: (-rate * g) / Math.sqrt(nu * nuFactor + eps) };
    },
  },

  Adam: {
    start: { mu: 0, nu: 0 },
    step({ mu, nu }, g, t, { rate, b1, b2, eps, corrected }) {
      mu = average(b1, mu, g);
      nu = average(b2, nu, g * g);
      const muFactor = correction(b1, t, corrected);
      const nuFactor = correction(b2, t, corrected);
      const step = (-rate * mu * muFactor) / (Math.sqrt(nu * nuFactor) + eps);
      return { mu, nu, muFactor, nuFactor, step };
    },
  },
};
