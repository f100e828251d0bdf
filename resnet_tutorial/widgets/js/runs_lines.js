// What the lines of the run viewer look like: a colour and a marker for each run, dashes for each part of the data.

import { LINES, drawn } from "./kit.js";

export const DASHES = { train: "6 4", val: "1.5 4", test: null };
export const DASH_WORDS = { train: "dashed", val: "dotted", test: "solid" };
const MARKS = [
  "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0Z", // circle
  "M-3.2 -3.2H3.2V3.2H-3.2Z", // square
  "M0 -4.4L4.2 3.2H-4.2Z", // triangle
  "M0 -4.8L4.8 0L0 4.8L-4.8 0Z", // diamond
  "M0 4.4L4.2 -3.2H-4.2Z", // triangle that stands on its tip
  "M-1.3 -4.4H1.3V-1.3H4.4V1.3H1.3V4.4H-1.3V1.3H-4.4V-1.3H-1.3Z", // cross
];

/** Return the colour of a run's lines. */
export function colour(index) {
  return LINES[index % LINES.length];
}

/** Return the marker of a run; from the seventh run on the colours come back with other markers. */
export function mark(index, attributes = {}) {
  const shape = MARKS[(index + Math.floor(index / LINES.length)) % MARKS.length];
  return drawn("path", { class: "rw-runs-mark", d: shape, fill: colour(index), ...attributes });
}

function shortLine(attributes, ...children) {
  const place = { class: "rw-runs-sample", viewBox: "0 -7 30 14", width: 30, height: 14, "aria-hidden": "true" };
  return drawn("svg", place, drawn("path", { d: "M1 0H29", ...attributes }), ...children);
}

/** Return a piece of a run's line with its marker. */
export function lineOfRun(index) {
  return shortLine({ stroke: colour(index), "stroke-width": 2 }, mark(index, { transform: "translate(15 0)" }));
}

/** Return a piece of a line as it is dashed for a part of the data. */
export function lineOfPart(key) {
  return shortLine({ stroke: "currentColor", "stroke-width": 1.8, "stroke-dasharray": DASHES[key] });
}
