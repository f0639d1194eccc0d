/* Sliders with a label and a number, and settings as text in the page's address. */

const short = (value) => Number(value.toPrecision(3));

/* Scales between a slider's place and its value. Values have few digits, so that the number that
   is shown is the number that is used. */
export const SCALES = {
  linear: { value: (place) => short(place), place: (value) => value },
  logarithmic: { value: (place) => short(10 ** place), place: (value) => Math.log10(value) },
  nearOne: {
    value: (place) => Number((1 - short(10 ** -place)).toFixed(9)),
    place: (value) => -Math.log10(1 - value),
  },
};

/* Write a number as Python does: 1e-08, 0.2, 0.9999. */
export function written(value) {
  if (value !== 0 && Math.abs(value) < 1e-4) {
    return value.toExponential().replace(/e-(\d)$/, "e-0$1");
  }
  return String(value);
}

/* Make a slider, and return how to read it and to set it.

   Args: into: the element to append it to; label: its name; place: [lowest, highest, step] of the
   slider; scale: one of SCALES; hint: what the number does. */
export function slider(into, { name, label, place, scale, hint = "" }, changed) {
  const [min, max, step] = place;
  const row = document.createElement("div");
  row.className = "live-slider";
  row.innerHTML = `<label for="live-${name}">${label}</label>
    <input type="range" id="live-${name}" min="${min}" max="${max}" step="${step}">
    <output for="live-${name}"></output>`;
  const input = row.querySelector("input");
  const output = row.querySelector("output");
  if (hint) row.title = hint;
  const show = (value) => {
    output.value = written(value);
    input.setAttribute("aria-valuetext", written(value));
  };
  input.addEventListener("input", () => {
    const value = scale.value(Number(input.value));
    show(value);
    changed(value);
  });
  into.append(row);
  return (value) => {
    input.value = scale.place(value);
    show(value);
  };
}

/* Write what differs from the defaults, as `surface=saddle&b2=0.9`; see `parsed`. */
export function spelled(settings, defaults) {
  const texts = Object.entries(settings)
    .filter(([key, value]) => String(value) !== String(defaults[key]))
    .map(([key, value]) => `${key}=${value}`);
  return texts.join("&");
}

/* Read such a text, and leave out what has no default or is of another kind. */
export function parsed(text, defaults) {
  const found = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const usual = defaults[key];
    const numbers = value.split(",").map(Number);
    if (typeof usual === "number" && Number.isFinite(numbers[0])) found[key] = numbers[0];
    if (typeof usual === "boolean") found[key] = value === "true";
    if (typeof usual === "string") found[key] = value;
    if (Array.isArray(usual) && numbers.length === 2 && numbers.every(Number.isFinite)) {
      found[key] = numbers;
    }
  }
  return found;
}
