/* Let an optimiser walk over a surface, and write down each step. */

import { OPTIMIZERS } from "./optimizers.js";

export const STEPS = 300;

/* Return a function that gives numbers in [0, 1), the same for the same seed: mulberry32. */
function uniforms(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/* Return two standard normal numbers for each step, by Box and Muller's formula. */
export function normals(seed, steps = STEPS) {
  const uniform = uniforms(seed);
  return Array.from({ length: steps }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

/* Return the points of a walk, one more than steps, and for each step what happened in it.

   A step is { g, mu, nu, muFactor, nuFactor, step }, each a pair for the two weights x and y; what
   an optimiser does not have is a pair of undefined. */
export function walk(name, surface, start, noise, settings) {
  const optimizer = OPTIMIZERS[name];
  const points = [start];
  const steps = [];
  let memory = [optimizer.start, optimizer.start];
  for (let t = 1; t <= noise.length; t++) {
    const point = points[t - 1];
    const g = surface.gradient(point).map((d, i) => d + settings.noise * noise[t - 1][i]);
    memory = memory.map((each, i) => optimizer.step(each, g[i], t, settings));
    const pair = (key) => memory.map((each) => each[key]);
    const keys = ["mu", "nu", "muFactor", "nuFactor", "step"];
    steps.push({ g, ...Object.fromEntries(keys.map((key) => [key, pair(key)])) });
    points.push(point.map((p, i) => p + memory[i].step));
  }
  return { points, steps };
}
