/* The three surfaces: the loss at a point [x, y], its gradient, and how they are shown. */

export const SURFACES = {
  valley: {
    loss: ([x, y]) => (x * x + 20 * y * y) / 2,
    gradient: ([x, y]) => [x, 20 * y],
    start: [-5, 2.5],
    noise: 0,
    levels: [0.5, 2, 5, 10, 17, 26, 38, 53, 71, 92, 116],
    minima: [[0, 0]],
  },

  saddle: {
    loss: ([x, y]) => (x * x - y * y) / 2 + y ** 4 / 16,
    gradient: ([x, y]) => [x, -y + y ** 3 / 4],
    start: [-4, 0.02],
    noise: 0,
    levels: [-0.9, -0.6, -0.3, 0, 0.5, 1, 2, 3.5, 5.5, 8, 11, 15, 20],
    minima: [[0, 2], [0, -2]],
  },

  slope: {
    loss: ([x, y]) => Math.sqrt(1 + x * x + y * y),
    gradient: ([x, y]) => {
      const loss = Math.sqrt(1 + x * x + y * y);
      return [x / loss, y / loss];
    },
    start: [-5, 2],
    noise: 2,
    levels: [1.1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5],
    minima: [[0, 0]],
  },
};

/* The part of the plane that is shown; one unit of x is as long as one of y. */
export const VIEW = { x: [-6, 6], y: [-3.375, 3.375] };
