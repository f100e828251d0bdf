// The numbers of the run viewer: a column for each run, and what is read aloud.

import { element, grouped } from "./kit.js";
import { apart, at, standard, written, writtenSpread } from "./runs_rules.js";
import { lineOfRun } from "./runs_lines.js";

const FACTS = [
  ["network", "network"],
  ["recipe", "recipe"],
  ["seed", "seed"],
  ["epochs", "epochs"],
  ["seconds", "training seconds"],
  ["machine", "machine"],
];

/** Return the table: a column for each visible run, and one for the mean, if they are compared with it. */
export function tableByColumn(state) {
  const several = isMean(state);
  const columns = state.visible.length + (several ? 1 : 0);
  const title = (text) =>
    element("tr", {}, element("th", { scope: "rowgroup", colspan: columns + 1, class: "rw-runs-part" }, text));
  const rates = state.visible.map((run) => written("lr", at(run, "lr", state.epoch)));
  const label = `The runs at epoch ${state.epoch}`;
  return element(
    "table",
    { class: "rw-runs-table", style: `--rw-columns: ${columns}`, "aria-label": label },
    element("thead", {}, heads(state, several)),
    element(
      "tbody",
      {},
      title(`At epoch ${state.epoch}`),
      measured(state).map(([name, label]) => compared(state, name, label, readAt(state, name))),
      row("learning rate", rates, several),
    ),
    element(
      "tbody",
      {},
      title("The whole run"),
      compared(state, "final", FINAL, finalOf),
      FACTS.map(([name, label]) =>
        row(
          label,
          state.visible.map((run) => fact(run, name)),
          several,
        ),
      ),
    ),
  );
}

/**
 * Return the same where columns have no room: run under run, each with the numbers of the curves that are drawn.
 *
 * What a run was stands beneath its numbers in one line.
 */
export function tableByRow(state) {
  const measures = [
    ...state.curves.map(({ word, name }) => [name, `${word} ${state.kind}${unitOf(state.kind)}`, readAt(state, name)]),
    ["final", FINAL, finalOf],
  ];
  const columns = measures.map(([name, , read]) => cellsOf(state, name, read));
  const group = (nth, head, ...rest) =>
    element(
      "tbody",
      {},
      element("tr", {}, element("th", { scope: "rowgroup", colspan: columns.length, class: "rw-runs-part" }, head)),
      element(
        "tr",
        { class: "rw-runs-drawn" },
        columns.map((cells) => cells[nth]),
      ),
      rest,
    );
  return element(
    "table",
    { class: "rw-runs-table rw-runs-rows", "aria-label": `The runs at epoch ${state.epoch}` },
    element("thead", {}, element("tr", {}, ...measures.map(([, label]) => element("th", { scope: "col" }, label)))),
    state.visible.map((run, nth) => group(nth, [lineOfRun(run.index), " ", ...breakable(run.name)], facts(run, columns))),
    isMean(state) ? group(state.visible.length, state.reference.label) : null,
  );
}

/** Return one line that says what a run was. */
function facts(run, columns) {
  const texts = [run.network, run.recipe, `seed ${run.seed}`, `${run.epochs} epochs`, `${seconds(run)} s`, run.machine];
  const line = element("td", { colspan: columns.length, class: "rw-runs-facts" }, breakable(texts.join("; ")));
  return element("tr", {}, line);
}

/** Return what the small numbers of the table are. */
export function explanation(state) {
  if (!state.reference) return "No run is ticked: tick one above to see its curves and its numbers.";
  if (!state.compares) return "";
  const from = `Small numbers: difference from ${isMean(state) ? "the " : ""}${state.reference.value}`;
  if (!isMean(state)) return `${from}, for errors in percentage points.`;
  return (
    `${from}, and how many spreads that is. The spread is the standard deviation over the seeds (with n − 1); ` +
    "the grey band is the mean plus and minus two spreads."
  );
}

function isMean(state) {
  return (state.reference?.members.length ?? 0) > 1;
}

function heads(state, several) {
  return element(
    "tr",
    {},
    element("td", {}),
    state.visible.map((run) => element("th", { scope: "col" }, lineOfRun(run.index), breakable(run.name))),
    several ? element("th", { scope: "col" }, state.reference.label) : null,
  );
}

const FINAL = "final test error (%)";

function finalOf(run) {
  return run.final ?? undefined;
}

function readAt(state, curve) {
  return (run) => at(run, curve, state.epoch);
}

function unitOf(kind) {
  return kind === "error" ? " (%)" : "";
}

/** Return the curves that some run has, with their names: errors first. */
function measured(state) {
  return ["error", "loss"].flatMap((kind) =>
    state.parts.map(([word, key]) => [`${key}_${kind}`, `${word} ${kind}${unitOf(kind)}`]),
  );
}

/** Return a name that may be parted after a hyphen, an underscore and an equals sign. */
function breakable(name) {
  return name.split(/(?<=[-_=])/).flatMap((part, n) => (n ? [element("wbr"), part] : [part]));
}

function fact(run, name) {
  return name === "seconds" ? seconds(run) : breakable(String(run[name]));
}

function seconds(run) {
  const [whole, tenths] = run.seconds.toFixed(1).split(".");
  return `${grouped(whole)}.${tenths}`;
}

function row(label, texts, several) {
  const cells = texts.map((text) => element("td", {}, text));
  return element("tr", {}, element("th", { scope: "row" }, label), cells, several ? element("td", {}) : null);
}

/** Return a row of numbers with their differences beneath; its height is the same whatever the numbers are. */
function compared(state, name, label, read) {
  const isDrawn = state.curves.some((curve) => curve.name === name);
  const head = element("th", { scope: "row" }, label);
  return element("tr", { class: isDrawn ? "rw-runs-drawn" : null }, head, cellsOf(state, name, read));
}

/** Return a cell for each visible run, and one for the mean, if they are compared with it. */
function cellsOf(state, name, read) {
  const several = isMean(state);
  const usual = standard(state.reference?.members ?? [], read);
  const cells = state.visible.map((run) => {
    const itself = !several && run.name === state.reference.value;
    const value = read(run);
    const beneath = itself ? ["reference"] : differences(name, value, usual, several);
    return number(written(name, value), state.compares ? beneath : []);
  });
  if (several) {
    const spread = usual ? `spread ${writtenSpread(name, usual)}` : "";
    cells.push(number(usual ? written(name, usual.mean) : "–", [spread, ""]));
  }
  return cells;
}

function differences(name, value, usual, several) {
  if (!usual || !Number.isFinite(value)) return several ? ["", ""] : [""];
  const points = apart(name, value, usual.mean);
  if (!several) return [points];
  return [points, usual.spread ? `${(Math.abs(value - usual.mean) / usual.spread).toFixed(2)} spreads` : ""];
}

function number(value, beneath) {
  return element(
    "td",
    {},
    value,
    beneath.map((text) => element("small", {}, text || "\u00a0")),
  );
}

/** Return what is read aloud: the drawn numbers of each visible run. */
export function sentence(state) {
  if (!state.curves.length && state.visible.length) return `Epoch ${state.epoch}. No curve is ticked.`;
  const unit = state.kind === "error" ? " %" : "";
  const each = state.visible.map((run) => {
    const values = state.curves.map(({ word, name }) => [word, name, at(run, name, state.epoch)]);
    const told = values
      .filter(([, , value]) => value !== undefined)
      .map(([word, name, value]) => `${word} ${state.kind} ${written(name, value)}${value === null ? "" : unit}`);
    return `${run.name}: ${told.join(", ") || "no number"}.`;
  });
  return `Epoch ${state.epoch}. ${each.join(" ") || "No run is ticked."}`;
}
