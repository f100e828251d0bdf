// What the run viewer computes: which numbers, how far apart, where on the axes; without any drawing.

export const PARTS_OF_DATA = [
  ["training", "train"],
  ["validation", "val"],
  ["test", "test"],
];
const KINDS = ["error", "loss"];
const AXES = ["zero", "fitted", "log"];

/** Return how many epochs the longest run has. */
export function longest(runs) {
  return Math.max(1, ...runs.map((run) => run.epochs));
}

/** Return a state that can be drawn: known words, an epoch that exists, true or false for each run. */
export function settled(state, runs) {
  const epoch = Math.round(state.epoch);
  return {
    ...state,
    kind: KINDS.includes(state.kind) ? state.kind : "error",
    axis: AXES.includes(state.axis) ? state.axis : "zero",
    shown: runs.map((_, index) => String(state.shown ?? "")[index] !== "0"),
    epoch: Number.isFinite(epoch) ? Math.min(Math.max(1, epoch), longest(runs)) : longest(runs),
  };
}

/** Return the parts of the data, as [word, key], that some run has a curve of. */
export function partsOf(runs) {
  return PARTS_OF_DATA.filter(([, key]) => runs.some((run) => KINDS.some((kind) => run.curves[`${key}_${kind}`])));
}

/**
 * Return a run's number at an epoch, counted from 1.
 *
 * null: it was not finite; undefined: the run has no such curve, or was over by then.
 */
export function at(run, curve, epoch) {
  return (curve === "lr" ? run.lr : (run.curves[curve] ?? []))[epoch - 1];
}

/** Return the mean of numbers and their spread, which has n - 1 in the denominator. */
export function meanAndSpread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, spread: Math.sqrt(squares / (values.length - 1)) };
}

/** Return what runs can be compared with: {value, label, members}; first each of them, then families of seeds. */
export function references(runs) {
  const single = runs.map((run) => ({ value: run.name, label: run.name, members: [run] }));
  const families = [...new Set(runs.map((run) => run.family).filter(Boolean))].map((family) => {
    const members = runs.filter((run) => run.family === family);
    const seeds = members.map((run) => run.seed).join(",\u00a0");
    return { value: `mean of ${family}`, label: `mean of ${family}, seeds ${seeds}`, members };
  });
  return [...single, ...families.filter(({ members }) => members.length > 1)];
}

/** Return the number that others are compared with, {mean, spread}, from what a function reads of each member. */
export function standard(members, read) {
  const values = members.map(read);
  return values.length && values.every(Number.isFinite) ? meanAndSpread(values) : null;
}

// --- numbers as texts ---

const MINUS = "−";

function isError(curve) {
  return curve === "final" || curve.endsWith("error");
}

/** Return how many decimals a number has when it is written with four digits. */
function decimalsOf(value) {
  return value === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
}

/** Return an error in per cent with two decimals, anything else with four digits. */
export function written(curve, value) {
  if (value === undefined) return "–";
  if (value === null) return "not finite";
  if (isError(curve)) return value.toFixed(2);
  return curve === "lr" ? String(value) : value.toPrecision(4);
}

/** Return a spread with the decimals of its mean. */
export function writtenSpread(curve, { mean, spread }) {
  return spread.toFixed(isError(curve) ? 2 : Math.min(6, decimalsOf(mean)));
}

/** Return how far a value is from another, with its sign and with no more decimals than both have. */
export function apart(curve, value, other) {
  const decimals = isError(curve) ? 2 : Math.min(6, decimalsOf(value), decimalsOf(other));
  const text = Math.abs(value - other).toFixed(decimals);
  const sign = Number(text) === 0 ? "±" : value > other ? "+" : MINUS;
  return sign + text;
}

// --- axes ---

/** Return the smallest of 1, 2, 5, 10, 20 ... and their fractions that is not below a number. */
export function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9));
}

function axisWith(ticks, texts, log) {
  return { log, least: ticks[0], most: ticks[ticks.length - 1], ticks, texts };
}

function linearAxis(least, most, pieces) {
  const span = most - least || Math.abs(most) || 1;
  const step = niceStep(span / pieces);
  const first = Math.floor(least / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(most / step - 1e-9));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toFixed(digits)));
  return axisWith(
    ticks,
    ticks.map((value) => value.toFixed(digits)),
    false,
  );
}

function logAxis(least, most) {
  const from = Math.floor(Math.log10(least)) - 1;
  const powers = Array.from({ length: Math.ceil(Math.log10(most)) - from + 1 }, (_, n) => from + n);
  let ticks = [];
  for (const factors of [[1], [1, 2, 5], [1, 2, 3, 5, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    const marks = powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)));
    const first = marks.findLastIndex((mark) => mark <= least);
    const last = marks.findIndex((mark) => mark >= most);
    ticks = marks.slice(first, Math.max(last, first + 1) + 1);
    if (ticks.length >= 4) break;
  }
  return axisWith(ticks, ticks.map(String), true);
}

/** Return an axis that holds all values, {log, least, most, ticks, texts, empty}; a logarithmic one has no zero. */
export function axisFor(values, kind, pieces = 5) {
  const finite = values.filter((value) => Number.isFinite(value) && (kind !== "log" || value > 0));
  if (!finite.length) return { ...linearAxis(0, 1, pieces), empty: true };
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  if (kind === "log") return logAxis(least, most);
  return linearAxis(kind === "zero" ? Math.min(0, least) : least, most, pieces);
}

/** Return where on an axis a value lies, from 0 to 1; null if it cannot be drawn. */
export function along(axis, value) {
  if (!Number.isFinite(value) || (axis.log && value <= 0)) return null;
  const scale = axis.log ? Math.log10 : (number) => number;
  return (scale(value) - scale(axis.least)) / (scale(axis.most) - scale(axis.least));
}

/** Return the epoch that is nearest to a place on the axis, from 0 to 1. */
export function epochAt(share, epochs) {
  return Math.min(Math.max(1, Math.round(1 + share * (epochs - 1))), epochs);
}

/** Return where an epoch lies on the axis, from 0 to 1; a single one in the middle. */
export function alongEpochs(epoch, epochs) {
  return epochs > 1 ? (epoch - 1) / (epochs - 1) : 0.5;
}
