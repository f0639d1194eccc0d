/* Put the page together: settings, walks, controls. `window.adamLive` shows what is drawn. */

import { SCALES, parsed, slider, spelled, written } from "./controls.js";
import { HEIGHT, WIDTH, toPicture, toPlane } from "./drawing.js";
import { chart, ground, sample, shade, trail } from "./drawing.js";
import { PALETTE } from "./palette.js";
import { SURFACES, VIEW } from "./surfaces.js";
import { STEPS, normals, walk } from "./walk.js";

const NAMES = Object.keys(PALETTE);
const DEFAULTS = {
  surface: "valley", start: SURFACES.valley.start, noise: 0, seed: 15, focus: "Adam",
  b1: 0.9, b2: 0.999, eps: 1e-8, correctAdam: true, correctRMSProp: false,
  SGD: 0.08, momentum: 0.02, AdaGrad: 0.7, RMSProp: 0.01, Adam: 0.2,
};
const CALLS = {
  SGD: (s) => `ao.sgd(${written(s.SGD)})`,
  momentum: (s) => `ao.sgd(${written(s.momentum)}, momentum=${s.b1})`,
  AdaGrad: (s) => `ao.adagrad(${written(s.AdaGrad)}, eps=${written(s.eps)})`,
  RMSProp: (s) =>
    `ao.rmsprop(${written(s.RMSProp)}, decay=${s.b2}, eps=${written(s.eps)}` +
    `${s.correctRMSProp ? ", bias_correction=True" : ""})`,
  Adam: (s) =>
    `ao.adam(${written(s.Adam)}, b1=${s.b1}, b2=${s.b2}, eps=${written(s.eps)})` +
    `${s.correctAdam ? "" : "  # without its bias correction"}`,
};
const MU = { momentum: "trace, sum of g" };
const NU = { AdaGrad: "sum of g²" };
const ROWS = [
  ["g", () => "gradient g", false],
  ["mu", (name) => MU[name] ?? "mu, mean of g", false],
  ["nu", (name) => NU[name] ?? "nu, mean of g²", true],
  ["muFactor", () => "correction of mu", true],
  ["nuFactor", () => "correction of nu", true],
  ["step", () => "step", false],
];
const LABELS = { valley: "Valley", saddle: "Saddle", slope: "Noisy slope" };

const root = document.querySelector("#live");
const find = (selector) => root.querySelector(selector);
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

let settings = { ...DEFAULTS };
let walks = {};
let now = 0;
let playing = false;
const setters = {}; // by setting: shows a value in its control

function compute() {
  const noise = normals(settings.seed);
  walks = {};
  for (const name of NAMES) {
    const corrected = settings[`correct${name}`];
    const own = { ...settings, rate: settings[name], corrected };
    walks[name] = walk(name, SURFACES[settings.surface], settings.start, noise, own);
  }
  window.adamLive = { settings, walks, noise };
}

/* Take other settings, walk anew, and show all. */
function change(some) {
  if (some.surface && some.surface !== settings.surface) {
    const { start, noise } = SURFACES[some.surface];
    some = { start, noise, ...some };
  }
  settings = { ...settings, ...some };
  compute();
  for (const [key, set] of Object.entries(setters)) set(settings[key]);
  if (some.surface) drawGround();
  find(".live-calls").textContent = NAMES.map((name) => CALLS[name](settings)).join("\n");
  draw();
}

const pick = (from, keys) => Object.fromEntries(keys.map((key) => [key, from[key]]));

/* Put what differs from the start into the address, so that it can be shared. */
const remember = () => {
  const usual = { ...DEFAULTS, ...pick(SURFACES[settings.surface], ["start", "noise"]) };
  const hash = spelled(settings, usual);
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
};

function drawGround() {
  const surface = SURFACES[settings.surface];
  shade(find(".live-shade"), surface);
  find(".live-map").innerHTML = `${ground(surface)}<g class="live-trails"></g>`;
}

function draw() {
  const { focus, start, surface } = settings;
  const order = [...NAMES.filter((name) => name !== focus), focus]; // the chosen one on top
  find(".live-trails").innerHTML = order
    .map((name) => trail(name, walks[name].points, now, name === focus))
    .join("");
  const [u, v] = toPicture(start);
  Object.assign(find(".live-start").style, {
    left: `${(100 * u) / WIDTH}%`, top: `${(100 * v) / HEIGHT}%`,
  });
  find(".live-start").setAttribute("aria-valuenow", start[0]);
  find(".live-start").setAttribute("aria-valuetext", `x ${start[0]}, y ${start[1]}`);
  for (const name of NAMES) {
    const loss = SURFACES[surface].loss(walks[name].points[now]);
    find(`[data-loss=${name}]`).textContent = number(loss);
  }
  drawInside();
  setters.now(now);
}

const number = (value) => {
  if (value === undefined) return "–";
  if (!Number.isFinite(value)) return "diverged";
  const size = Math.abs(value);
  const few = size >= 1e4 || (size > 0 && size < 1e-3);
  const text = few ? value.toExponential(1) : value.toPrecision(size < 0.1 ? 2 : 3);
  return text.replace("e-", "e−").replace(/^-/, "−");
};

function drawInside() {
  const { focus } = settings;
  const { steps } = walks[focus];
  const current = steps[now - 1];
  find(".live-inside tbody").innerHTML = ROWS.map(([key, label, logarithmic]) => {
    const pairs = steps.map((each) => each[key]);
    const has = pairs[0][0] !== undefined;
    const cells = [0, 1].map((i) => `<td>${has && current ? number(current[key][i]) : "–"}</td>`);
    const drawn = has ? chart(pairs, now, PALETTE[focus].color, logarithmic) : "";
    const title = has ? label(focus) : `no ${label("").split(",")[0]}`;
    return `<tr data-row="${key}"><th scope="row">${title}</th>${cells.join("")}
      <td class="live-chart">${drawn}</td></tr>`;
  }).join("");
  find(".live-inside").style.setProperty("--live-focus", PALETTE[focus].color);
}

function go(step, say = true) {
  now = Math.max(0, Math.min(STEPS, step));
  draw();
  if (say) find("[role=status]").textContent = `Step ${now} of ${STEPS}`;
}

function play(wanted) {
  playing = wanted;
  find("[data-do=play]").textContent = playing ? "Pause" : "Play";
  if (!playing) return;
  if (now === STEPS) go(0, false);
  let begun;
  const tick = (time) => {
    if (!playing) return;
    begun ??= time - now * 50; // 20 steps a second
    const step = Math.floor((time - begun) / 50);
    if (step > now) go(step, step >= STEPS);
    if (now < STEPS) requestAnimationFrame(tick);
    else play(false);
  };
  requestAnimationFrame(tick);
}

const ACTIONS = {
  play: () => play(!playing),
  back: () => { play(false); go(now - 1); },
  next: () => { play(false); go(now + 1); },
  restart: () => { play(false); go(0); },
  redraw: () => { change({ seed: settings.seed + 1 }); remember(); },
  defaults: () => { change({ ...DEFAULTS }); remember(); },
};
const KEYS = { p: "play", b: "back", n: "next", r: "restart" };

function addControls() {
  for (const [key, label] of Object.entries(LABELS)) {
    const radio = `<input type="radio" name="live-surface" value="${key}">`;
    const choice = `<label>${radio}<span>${label}</span></label>`;
    find(".live-surfaces").insertAdjacentHTML("beforeend", choice);
  }
  setters.surface = (key) => { find(`[name=live-surface][value=${key}]`).checked = true; };
  find(".live-surfaces").addEventListener("change", (event) => {
    change({ surface: event.target.value });
  });
  find("#live-focus").innerHTML = NAMES.map((name) => `<option>${name}</option>`).join("");
  setters.focus = (name) => { find("#live-focus").value = name; };
  find("#live-focus").addEventListener("change", (event) => change({ focus: event.target.value }));
  const add = (into, name, label, place, scale, hint) => {
    const own = { name, label, place, scale: SCALES[scale], hint };
    setters[name] = slider(find(into), own, (value) => change({ [name]: value }));
  };
  for (const name of NAMES) {
    const label = `${sample(name)} ${name}<span class="live-unseen">, learning rate</span>`;
    add(".live-optimizers", name, label, [-4, 1, 0.01], "logarithmic");
    find(".live-optimizers .live-slider:last-child").insertAdjacentHTML("beforeend",
      `<span class="live-loss" data-loss="${name}"></span>`);
  }
  const shared = (name, ...others) => add(".live-numbers", name, name, ...others);
  shared("b1", [0, 3, 0.05], "nearOne", "how much of mu, or of momentum's sum, stays");
  shared("b2", [0, 5, 0.05], "nearOne", "how much of nu stays, in Adam and RMSProp");
  shared("eps", [-10, 0, 0.1], "logarithmic", "beside Adam's root, under the others'");
  shared("noise", [0, 5, 0.1], "linear", "standard deviation of what is added to gradients");
  for (const name of ["correctAdam", "correctRMSProp"]) {
    setters[name] = (value) => { find(`#live-${name}`).checked = value; };
    find(`#live-${name}`).addEventListener("change", (event) => {
      change({ [name]: event.target.checked });
    });
  }
  const time = { name: "now", label: "step", place: [0, STEPS, 1], scale: SCALES.linear };
  setters.now = slider(find(".live-time"), time, (step) => { play(false); go(step, false); });
  root.addEventListener("change", remember);
}

function addKeysAndButtons() {
  root.addEventListener("click", (event) => ACTIONS[event.target.dataset.do]?.());
  root.addEventListener("keydown", (event) => {
    const plain = !(event.ctrlKey || event.metaKey || event.altKey);
    const action = KEYS[event.key.toLowerCase()];
    if (plain && action && event.target.tagName !== "SELECT") ACTIONS[action]();
  });
}

const rounded = ([x, y]) => {
  const within = (value, [low, high]) => Math.max(low, Math.min(high, value));
  return [within(x, VIEW.x), within(y, VIEW.y)].map((value) => Number(value.toFixed(2)));
};

function addStart() {
  const handle = find(".live-start");
  const picture = find(".live-picture");
  const follow = (event) => {
    const box = picture.getBoundingClientRect();
    const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    change({ start: rounded(toPlane([share[0] * WIDTH, share[1] * HEIGHT])) });
  };
  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) follow(event);
  });
  handle.addEventListener("pointerup", remember);
  find(".live-map").addEventListener("click", (event) => { follow(event); remember(); });
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  handle.addEventListener("keydown", (event) => {
    const [x, y] = settings.start;
    const size = event.shiftKey ? 0.01 : 0.1;
    const move = moves[event.key];
    if (!move && event.key !== "Home") return;
    event.preventDefault();
    change({ start: rounded(move ? [x + size * move[0], y + size * move[1]] : [x, 0]) });
    remember();
  });
}

/* Tell whether a setting from the address is one that the controls could give. */
function sane([key, value]) {
  if (key === "surface") return value in SURFACES;
  if (key === "focus") return NAMES.includes(value);
  if (key === "b1" || key === "b2") return value >= 0 && value < 1;
  return [...NAMES, "eps"].includes(key) ? value > 0 : true;
}

/* Take the settings of the address, and tell whether it has some: it may name a heading. */
function takeAddress() {
  const found = Object.entries(parsed(location.hash.slice(1), DEFAULTS)).filter(sane);
  const { surface = DEFAULTS.surface, ...others } = Object.fromEntries(found);
  if (found.length) {
    change({ ...DEFAULTS, ...pick(SURFACES[surface], ["start", "noise"]), ...others, surface });
  }
  return found.length > 0;
}

addControls();
addKeysAndButtons();
addStart();
change({ ...DEFAULTS });
takeAddress();
root.hidden = false;
document.querySelector(".live-without")?.remove();
go(calm ? STEPS : 0, false);
addEventListener("hashchange", () => {
  if (!takeAddress()) return;
  root.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  go(calm ? STEPS : 0, false);
  play(!calm);
});
if (!calm) {
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    play(true);
  }, { threshold: 0.5 });
  seen.observe(find(".live-picture"));
}
