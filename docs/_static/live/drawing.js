/* Draw surfaces, walks and charts as SVG, and nothing else: no state, no events. */

import { PALETTE } from "./palette.js";
import { VIEW } from "./surfaces.js";

export const WIDTH = 960;
export const HEIGHT = 540;
const [LEFT, RIGHT] = VIEW.x;
const [BOTTOM, TOP] = VIEW.y;
const FAR = 20 * WIDTH; // beyond it a line is off the picture anyway, and SVG loses its digits

const clip = (place) => Math.max(-FAR, Math.min(FAR, place));

/* From a point of the plane to one of the picture, and back. */
export const toPicture = ([x, y]) => [
  clip(((x - LEFT) / (RIGHT - LEFT)) * WIDTH),
  clip(((TOP - y) / (TOP - BOTTOM)) * HEIGHT),
];
export const toPlane = ([u, v]) => [
  LEFT + (u / WIDTH) * (RIGHT - LEFT),
  TOP - (v / HEIGHT) * (TOP - BOTTOM),
];

const joined = (points) => points.map((p) => p.map((n) => n.toFixed(1)).join(" "));

/* Return the lines on which a function has one value: marching squares, as an SVG path. */
export function levelLine(loss, level, columns = 96, rows = 54) {
  const at = (i, j) => [(i / columns) * WIDTH, (j / rows) * HEIGHT];
  const above = (i, j) => loss(toPlane(at(i, j))) - level;
  const heights = Array.from({ length: columns + 1 }, (_, i) =>
    Array.from({ length: rows + 1 }, (_, j) => above(i, j)),
  );
  const parts = [];
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const crossed = [];
      corners.forEach(([a, b], k) => {
        const [c, d] = corners[(k + 1) % 4];
        const [one, other] = [heights[a][b], heights[c][d]];
        if (one > 0 === other > 0) return;
        const share = one / (one - other);
        crossed.push(at(a + share * (c - a), b + share * (d - b)));
      });
      for (let k = 0; k + 1 < crossed.length; k += 2) {
        parts.push(`M${joined(crossed.slice(k, k + 2)).join("L")}`);
      }
    }
  }
  return parts.join("");
}

/* Return the level lines of a surface, and a cross at each minimum. */
export function ground(surface) {
  const lines = surface.levels.map((level) => levelLine(surface.loss, level));
  const crosses = surface.minima.map((point) => {
    const [u, v] = toPicture(point);
    return `M${u - 11} ${v}h22M${u} ${v - 11}v22`;
  });
  return (
    lines.map((d) => `<path class="live-level" d="${d}"/>`).join("") +
    `<path class="live-minimum" d="${crosses.join("")}"/>`
  );
}

/* Shade a small canvas by the rank of the loss among the levels: the deeper, the darker. */
export function shade(canvas, surface) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const image = context.createImageData(width, height);
  const { levels } = surface;
  for (let k = 0; k < width * height; k++) {
    const place = [((k % width) + 0.5) / width, (Math.floor(k / width) + 0.5) / height];
    const loss = surface.loss(toPlane([place[0] * WIDTH, place[1] * HEIGHT]));
    const next = levels.findIndex((level) => level > loss);
    const low = next > 0 ? levels[next - 1] : surface.loss(surface.minima[0]);
    const rank = next < 0 ? levels.length : next + (loss - low) / (levels[next] - low);
    image.data.set([0, 114, 178, 70 * (1 - rank / levels.length)], 4 * k);
  }
  context.putImageData(image, 0, 0);
}

const finite = (points) => {
  const end = points.findIndex((point) => !point.every(Number.isFinite));
  return end < 0 ? points : points.slice(0, end);
};

/* Return one walk up to a step: its line, its end, and, of the one in focus, a dot a step. */
export function trail(name, points, t, focused) {
  const { color, dash } = PALETTE[name];
  const shown = joined(finite(points.slice(0, t + 1)).map(toPicture));
  const width = focused ? 3 : 2;
  const dashes = dash.map((length) => length * width).join(" ");
  const dots = focused ? shown.map((p) => `M${p}h0`).join("") : ""; // others show their dashes
  return `<g class="live-trail" data-name="${name}" stroke="${color}">
    <path class="live-line" d="M${shown.join("L")}" stroke-width="${width}"
      stroke-dasharray="${dashes || "none"}"/>
    <path class="live-dots" d="${dots}" stroke-width="${width + 2}"/>
    <path class="live-halo" d="M${shown.at(-1)}h0"/>
    <path class="live-walker" d="M${shown.at(-1)}h0"/></g>`;
}

/* Return a sample of an optimiser's line, for its name in a list. */
export function sample(name) {
  const { color, dash } = PALETTE[name];
  const dashes = dash.map((length) => length * 2).join(" ") || "none";
  return `<svg class="live-sample" viewBox="0 0 36 8" aria-hidden="true"><path d="M1 4H35"
    stroke="${color}" stroke-width="2" stroke-dasharray="${dashes}"/></svg>`;
}

/* Return a chart of the pairs of two weights over the steps, x as a line and y as dashes.

   Args: pairs: for all steps; t: the present step, after which lines are pale; logarithmic: whether
   values are positive and shown by their logarithm. */
export function chart(pairs, t, color, logarithmic) {
  const read = (value) => (logarithmic ? Math.log10(value) : value);
  const values = [0, 1].map((i) => pairs.map((pair) => read(pair[i])));
  const all = values.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(...all, logarithmic ? Infinity : 0), Math.max(...all)];
  const lowest = logarithmic ? low : -Math.max(-low, high);
  const range = (logarithmic ? high - low : 2 * Math.max(-low, high)) || 1;
  const place = (value) => (34 - (32 * (value - lowest)) / range).toFixed(1);
  const line = (each, kind, to) => {
    const at = (v, k) => (Number.isFinite(v) ? [`${k} ${place(v)}`] : []);
    const parts = each.slice(0, to).flatMap(at);
    return parts.length ? `<path class="${kind}" d="M${parts.join("L")}" stroke="${color}"/>` : "";
  };
  const lines = ["live-to-come", "live-past"].map((kind) => {
    const to = kind === "live-past" ? t : pairs.length;
    return line(values[0], kind, to) + line(values[1], `${kind} live-second`, to);
  });
  const zero = logarithmic ? "" : `<path class="live-zero" d="M0 ${place(0)}H${pairs.length}"/>`;
  return `<svg viewBox="0 0 ${pairs.length} 36" preserveAspectRatio="none" aria-hidden="true">
    ${zero}<path class="live-now" d="M${t} 0V36"/>
    ${lines.join("")}</svg>`;
}
