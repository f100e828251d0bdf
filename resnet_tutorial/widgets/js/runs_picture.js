// The picture of the run viewer: curves over the epochs, the learning rate beneath, and the cursor.

import { drawn } from "./kit.js";
import { along, alongEpochs, at, axisFor, epochAt, standard } from "./runs_rules.js";
import { DASHES, colour, mark } from "./runs_lines.js";

// Pixels: the margins, the height of the two panels, and what is between them. The width is what the page has.
export const PLOT = { left: 60, right: 36, top: 44, high: 230, gap: 40, low: 52, bottom: 22 };
const CLOSEST = 13; // pixels between two markers of one line

/** Return the epoch under the pointer. */
export function epochUnder(event, epochs) {
  const box = event.currentTarget.getBoundingClientRect();
  return epochAt((event.clientX - box.left - PLOT.left) / (box.width - PLOT.left - PLOT.right), epochs);
}

/** Return the drawing, so many pixels wide. */
export function picture(state, width) {
  const wide = Math.max(120, width - PLOT.left - PLOT.right);
  const x = (epoch) => PLOT.left + wide * alongEpochs(epoch, state.epochs);
  const upper = { y: PLOT.top, high: PLOT.high };
  const lower = { y: PLOT.top + PLOT.high + PLOT.gap, high: PLOT.low };
  const height = lower.y + lower.high + PLOT.bottom;
  const lines = state.visible.flatMap((run) => state.curves.map(({ key, name }) => ({ run, name, dash: DASHES[key] })));
  const bands = bandsOf(state);
  const limits = bands.flat().flatMap(({ low, high }) => [low, high]);
  const axis = axisFor([...lines.flatMap(({ run, name }) => run.curves[name] ?? []), ...limits], state.axis);
  const rates = axisFor(
    state.visible.flatMap(({ lr }) => lr),
    "zero",
    2,
  );
  return drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": inWords(state) },
    frame(axis, upper, wide, state.kind === "error" ? "error (%)" : "loss"),
    frame(rates, lower, wide, "learning rate"),
    epochsBelow(x, state.epochs, wide, lower.y + lower.high),
    bands.map((band) => bandAround(band, axis, upper, x)),
    cursor(state.epoch, x(state.epoch), [upper, lower], width),
    lines.map((line) => curve(line, axis, upper, x, state)),
    state.visible.map((run) => curve({ run, name: "lr", dash: null }, rates, lower, x, state)),
    lines.length ? null : nothing(state, PLOT.left + wide / 2, PLOT.top + PLOT.high / 2),
  );
}

function inWords(state) {
  const curves = state.curves.map(({ word }) => `${word} ${state.kind}`).join(" and ") || "no curve";
  const names = state.visible.map(({ name }) => name).join(", ") || "no run";
  return `By epoch: ${curves} of ${names}, and beneath the learning rate. The table has the numbers.`;
}

/** Return an axis: its lines, their numbers and its name; of an axis for no values only the lines. */
function frame(axis, { y, high }, wide, name) {
  const lines = axis.ticks.flatMap((value, n) => {
    const height = y + high * (1 - along(axis, value));
    return [
      drawn("line", { class: "rw-runs-grid", x1: PLOT.left, x2: PLOT.left + wide, y1: height, y2: height }),
      drawn("text", { class: "rw-runs-left", x: PLOT.left - 10, y: height + 4 }, axis.empty ? "" : axis.texts[n]),
    ];
  });
  return [drawn("text", { class: "rw-runs-name", x: 0, y: y - 14 }, name), ...lines];
}

/** Return the epochs' numbers, as many as there is room for. */
function epochsBelow(x, epochs, wide, y) {
  const room = Math.max(2, Math.floor(wide / 34));
  const step = [1, 2, 5, 10, 20, 50, 100].find((one) => epochs / one <= room) ?? 200;
  const numbers = Array.from({ length: epochs }, (_, n) => n + 1).filter((n) => n === 1 || n % step === 0);
  return numbers.map((n) => drawn("text", { class: "rw-runs-middle", x: x(n), y: y + 17 }, n));
}

function cursor(epoch, x, panels, width) {
  const label = { class: "rw-runs-middle rw-runs-here", x: Math.min(Math.max(32, x), width - 32), y: 12 };
  const lines = panels.map(({ y, high }, n) =>
    drawn("line", {
      class: "rw-runs-cursor",
      x1: x,
      x2: x,
      y1: n ? y : 18,
      y2: y + high, // not through the lower panel's name
    }),
  );
  return [drawn("text", label, `epoch ${epoch}`), ...lines];
}

function nothing(state, x, y) {
  return drawn("text", { class: "rw-runs-middle", x, y }, state.visible.length ? "No curve is ticked." : "No run is ticked.");
}

/** Return a run's line with a marker at its epochs, or at some of them where they are close together. */
function curve({ run, name, dash }, axis, { y, high }, x, state) {
  const values = name === "lr" ? run.lr : (run.curves[name] ?? []);
  const points = values.map((value, n) => ({ epoch: n + 1, share: along(axis, value) }));
  const every = state.epochs > 1 ? Math.ceil(CLOSEST / (x(2) - x(1))) : 1;
  const moved = ({ epoch, share }, scale = 1) => ({
    transform: `translate(${x(epoch)} ${y + high * (1 - share)}) scale(${scale})`,
  });
  const marks = points.filter(({ epoch, share }) => share !== null && (epoch - 1) % every === 0);
  const here = points.filter(({ epoch, share }) => share !== null && epoch === state.epoch);
  const larger = name === "lr" ? 1 : 1.4;
  const line = { d: path(points, x, y, high), stroke: colour(run.index), "stroke-dasharray": dash };
  return drawn(
    "g",
    { "data-run": run.name, "data-curve": name },
    drawn("path", { class: "rw-runs-line", ...line }),
    name === "lr" ? null : marks.map((point) => mark(run.index, moved(point))),
    here.map((point) => mark(run.index, { class: "rw-runs-at", ...moved(point, larger) })),
  );
}

/** Return the path through all points that can be drawn, with a gap where one cannot. */
function path(points, x, y, high) {
  return points
    .map(({ epoch, share }, n) => {
      if (share === null) return "";
      const goesOn = n > 0 && points[n - 1].share !== null;
      return `${goesOn ? "L" : "M"}${x(epoch).toFixed(1)} ${(y + high * (1 - share)).toFixed(1)}`;
    })
    .join("");
}

/** Return for each curve drawn what lies within two spreads of the mean, if runs are compared with a mean. */
function bandsOf(state) {
  const members = state.reference?.members ?? [];
  if (members.length < 2) return [];
  const epochs = Array.from({ length: state.epochs }, (_, n) => n + 1);
  return state.curves.map(({ name }) =>
    epochs.flatMap((epoch) => {
      const usual = standard(members, (run) => at(run, name, epoch));
      if (!usual) return [];
      return [{ epoch, low: Math.max(0, usual.mean - 2 * usual.spread), high: usual.mean + 2 * usual.spread }];
    }),
  );
}

function bandAround(band, axis, { y, high }, x) {
  const corner = (epoch, value) => `${x(epoch).toFixed(1)},${(y + high * (1 - (along(axis, value) ?? 0))).toFixed(1)}`;
  const below = band.map((one) => corner(one.epoch, one.low));
  const above = band.map((one) => corner(one.epoch, one.high));
  return drawn("polygon", { class: "rw-runs-band", points: [...below, ...above.reverse()].join(" ") });
}
