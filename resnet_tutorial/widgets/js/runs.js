// The run viewer: curves of training runs, a cursor over the epochs, and a column of numbers for each run.

import { bar, change, choice, element, mount, slider, tick } from "./kit.js";
import { longest, partsOf, references, settled } from "./runs_rules.js";
import { DASH_WORDS, lineOfPart, lineOfRun } from "./runs_lines.js";
import { PLOT, epochUnder, picture } from "./runs_picture.js";
import { explanation, sentence, tableByColumn, tableByRow } from "./runs_table.js";

const STATE_NAMES = ["kind", "axis", "training", "validation", "test", "shown", "epoch", "reference"];
const KINDS_OFFERED = [
  ["error", "error (%)"],
  ["loss", "loss"],
];
const AXES_OFFERED = [
  ["zero", "from zero"],
  ["fitted", "fitted to the curves"],
  ["log", "logarithmic"],
];
const NOTHING_OFFERED = [["", "no run is ticked"]];
const USUAL_WIDTH = 660; // where the page does not say

function render({ model, el }) {
  const runs = model.get("runs");
  const parts = partsOf(runs);
  const last = longest(runs);
  const set = (values) => change(model, values);
  const now = () => settled(Object.fromEntries(STATE_NAMES.map((name) => [name, model.get(name)])), runs);
  const toggled = (index, on) =>
    now()
      .shown.map((was, n) => Number(n === index ? on : was))
      .join("");

  const kind = choice({ label: "Curves", options: KINDS_OFFERED, changed: (value) => set({ kind: value }) });
  const axis = choice({ label: "Vertical axis", options: AXES_OFFERED, changed: (value) => set({ axis: value }) });
  const partTicks = parts.map(([word, key]) => [
    word,
    tick({ label: [lineOfPart(key), `${word}, ${DASH_WORDS[key]}`], changed: (on) => set({ [word]: on }) }),
  ]);
  const runTicks = runs.map((run, index) =>
    tick({
      label: [lineOfRun(index), run.name],
      changed: (on) => set({ shown: toggled(index, on) }),
    }),
  );
  const epoch = slider({ label: "Epoch", least: 1, most: last, changed: (value) => set({ epoch: value }) });
  const reference = choice({ label: "Difference from", options: [], changed: (value) => set({ reference: value }) });
  const point = (event) => set({ epoch: epochUnder(event, last) });
  const view = {
    plot: element("div", { class: "rw-runs-plot", onpointermove: point, onpointerdown: point }),
    numbers: element("div", { class: "rw-runs-numbers", role: "group", "aria-label": "The runs' numbers" }),
    note: element("p", { class: "rw-runs-note" }),
  };

  function draw(say) {
    const state = scene(now(), runs, parts, model.get("reference"));
    kind.show(state.kind);
    axis.show(state.axis);
    for (const [word, control] of partTicks) control.show(state[word]);
    runTicks.forEach((control, index) => control.show(state.shown[index]));
    epoch.limit(1, last);
    epoch.show(state.epoch);
    reference.offer(state.visible.length ? state.references.map(({ value, label }) => [value, label]) : NOTHING_OFFERED);
    reference.show(state.reference?.value ?? "");
    view.plot.replaceChildren(picture(state, view.plot.clientWidth || USUAL_WIDTH));
    show(view.numbers, state);
    view.note.textContent = explanation(state);
    say(sentence(state));
  }

  const away = mount({
    model,
    el,
    title: `Run viewer: ${runs.map(({ name }) => name).join(", ")}`,
    draw,
    parts: [
      element("style", {}, STYLE_OF_RUNS),
      bar("What is drawn", kind.node, axis.node, ...partTicks.map(([, control]) => control.node)),
      bar("Runs", ...runTicks.map((control) => control.node)),
      view.plot,
      element("div", { class: "rw-runs-epoch" }, epoch.node),
      runs.length > 1 ? bar("Comparison", reference.node) : null,
      view.numbers,
      view.note,
    ],
  });
  const unwatch = whenWidthChanges(view.plot, () => draw(() => {}));
  return () => {
    unwatch();
    away();
  };
}

/** Return the state with what follows from it: the visible runs, the curves drawn, and what is compared with. */
function scene(state, runs, parts, wanted) {
  const visible = runs.map((run, index) => ({ ...run, index })).filter(({ index }) => state.shown[index]);
  const offered = references(visible);
  const chosen = parts.filter(([word]) => state[word]);
  return {
    ...state,
    parts,
    visible,
    references: offered,
    epochs: longest(runs),
    compares: runs.length > 1,
    reference: offered.find(({ value }) => value === wanted) ?? offered[0],
    curves: chosen.map(([word, key]) => ({ word, key, name: `${key}_${state.kind}` })),
  };
}

/** Call back whenever an element has become wider or narrower; return a function that ends this. */
function whenWidthChanges(node, changed) {
  let width = node.clientWidth;
  const observer = new ResizeObserver(() => {
    if (node.clientWidth === width) return;
    width = node.clientWidth;
    changed();
  });
  observer.observe(node);
  return () => observer.disconnect();
}

/** Show the numbers in columns, or run under run where the columns do not fit; nothing where no run is ticked. */
function show(node, state) {
  if (!state.visible.length) return node.replaceChildren();
  node.replaceChildren(tableByColumn(state));
  if (tooWide(node)) node.replaceChildren(tableByRow(state));
  // What does not fit even so, in very large letters, can be scrolled by keyboard.
  if (tooWide(node)) node.setAttribute("tabindex", "0");
  else node.removeAttribute("tabindex");
}

function tooWide(node) {
  return node.scrollWidth > node.clientWidth;
}

const THUMB = 16; // pixels of a slider's thumb: it stands under the cursor
const STYLE_OF_RUNS = `
.rw-runs-plot { touch-action: pan-y; cursor: crosshair; }
.rw-runs-plot svg { font-size: 12px; user-select: none; max-width: none; }
.rw-runs-plot text { fill: var(--rw-quiet); font-variant-numeric: tabular-nums; }
.rw-runs-plot :is(.rw-runs-name, .rw-runs-here) { fill: var(--rw-ink); }
.rw-runs-here { font-weight: 600; }
.rw-runs-left { text-anchor: end; }
.rw-runs-middle { text-anchor: middle; }
.rw-runs-grid { stroke: var(--rw-line); stroke-width: 0.6; }
.rw-runs-cursor { stroke: var(--rw-ink); stroke-width: 1; }
.rw-runs-line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.rw-runs-band { fill: var(--rw-ink); opacity: 0.1; }
.rw-runs-at { stroke: var(--rw-ink); stroke-width: 0.8; }
.rw .rw-runs-sample { flex: none; max-width: none; }
.rw-runs-epoch { margin: 0 0 0.9em; }
.rw-runs-epoch .rw-control {
  gap: 0; grid-template-columns: ${PLOT.left - THUMB / 2}px 1fr ${PLOT.right - THUMB / 2}px;
}
.rw-runs-epoch .rw-control label { grid-column: 1; }
.rw-runs-epoch .rw-control input[type="range"] { width: 100%; }
.rw-runs-epoch .rw-value { text-align: right; }
.rw-runs-numbers { overflow-x: auto; }
.rw .rw-runs-numbers .rw-runs-table {  /* the book's own rule for tables in outputs is a strong one */
  display: table; table-layout: fixed; margin: 0;
  width: 100%; min-width: calc(10em + 7em * var(--rw-columns)); max-width: calc(11em + 13em * var(--rw-columns));
  border-collapse: collapse; font-size: 0.92em; font-variant-numeric: tabular-nums;
}
.rw .rw-runs-numbers tr { background: none; }
.rw .rw-runs-numbers :is(th, td) {
  padding: 0.22em 0.35em; text-align: right; vertical-align: top; font-weight: 400; color: inherit;
  overflow-wrap: break-word; border: 0; border-top: 1px solid var(--rw-line); background: none;
}
.rw .rw-runs-numbers thead :is(th, td) { border-top: 0; vertical-align: bottom; }
.rw .rw-runs-numbers thead th { font-weight: 650; }
.rw .rw-runs-numbers thead .rw-runs-sample { margin: 0 0 0.1em auto; }
.rw .rw-runs-numbers :is(th[scope="row"], thead td) {
  width: 10.6em; text-align: left; padding-left: 0; color: var(--rw-quiet);
}
.rw .rw-runs-numbers .rw-runs-part { text-align: left; font-weight: 650; padding: 0.7em 0 0.22em; }
.rw .rw-runs-drawn td { font-weight: 600; }
.rw .rw-runs-numbers td:not(.rw-runs-facts) { overflow-wrap: normal; }
.rw-runs-numbers small {
  display: block; color: var(--rw-quiet); font-size: 0.82em; font-weight: 400; white-space: nowrap;
}
@media print {
  .rw .rw-runs-numbers .rw-runs-table { min-width: 0; font-size: 8pt; }
  .rw-runs-plot svg { max-width: 100%; }
}
.rw .rw-runs-note { color: var(--rw-quiet); font-size: 0.87em; }
.rw .rw-runs-numbers .rw-runs-rows { min-width: 0; max-width: none; }
.rw .rw-runs-rows .rw-runs-part { border-top-width: 2px; padding-top: 0.4em; }
.rw .rw-runs-rows .rw-runs-part svg { display: inline-block; vertical-align: -0.15em; }
.rw .rw-runs-rows .rw-runs-drawn td { border: 0; }
.rw .rw-runs-rows .rw-runs-facts { border: 0; text-align: left; padding-left: 0; color: var(--rw-quiet); font-size: 0.87em; }
`;

export default { render };
