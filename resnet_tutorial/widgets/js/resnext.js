// The ResNeXt explorer: cardinality against width at one cost, and the block's three forms.

import { FILL, ON_FILL, bar, calm, change, choice, drawn, element, freshName, grouped, mount, slider } from "./kit.js";
import { CARDINALITIES, FORMS, STAGES, calls, counts, plain, settled, sizes } from "./resnext_rules.js";
import { HEIGHT, between, drawnPaths, scene } from "./resnext_scene.js";

const NAMES = ["cardinality", "width", "channels", "form", "keep"];
const FORM_NAMES = { a: "(a) split-transform-merge", b: "(b) early concatenation", c: "(c) grouped convolution" };
const LAYERS = { reduce: "1×1 reduce", transform: "3×3", expand: "1×1 expand" };
const ROWS_OF_TABLE = {
  ...LAYERS,
  convolutions: "convolutions",
  norms: "batch norms",
  parameters: "whole block",
  macs: "MACs",
};
const TIME = 800; // milliseconds from one form to the next
const SHORTCUT = "#cf4a63"; // as in the figures (figures/palette.py)

function render({ model, el }) {
  const set = (values) => change(model, settled({ ...state(model), ...values }));
  const cardinality = powers({ label: "Cardinality C", changed: (value) => set({ cardinality: value }) });
  const width = slider({
    label: "Width d",
    least: 1,
    most: 64,
    changed: (value) => set({ width: value, keep: "nothing" }), // set by hand, it is not the one that keeps the cost
  });
  const keep = choice({
    label: "Kept equal",
    options: [["parameters"], ["macs", "MACs"], ["nothing"]],
    changed: (value) => set({ keep: value }),
  });
  const channels = choice({
    label: "Stage: channels, map",
    options: STAGES.map((count) => [count, stageName(count)]),
    changed: (value) => set({ channels: Number(value) }),
  });
  const forms = radios({ label: "Form", options: FORM_NAMES, changed: (value) => set({ form: value }) });
  const view = {
    picture: element("div", { class: "rw-rx-picture" }),
    caption: element("figcaption", { class: "rw-rx-caption" }),
    summary: element("p", { class: "rw-rx-summary" }),
    bars: element("div", { class: "rw-rx-bars" }),
    table: element("table", { class: "rw-rx-table" }),
  };
  let before = {};
  const film = player((shapes) => view.picture.replaceChildren(picture(shapes, before)));

  function draw(say) {
    const now = settled(state(model));
    cardinality.show(now.cardinality);
    for (const [name, control] of Object.entries({ width, keep, channels, form: forms })) control.show(now[name]);
    const room = roomFor(view.picture);
    const next = { ...now, room };
    const sameBlock = ["cardinality", "width", "channels", "room"].every((name) => next[name] === before[name]);
    const steps = sameBlock ? FORMS.indexOf(next.form) - FORMS.indexOf(before.form) : 0;
    before = next;
    film.show(scene(now, room), steps);
    view.caption.textContent = caption(now, room);
    view.bars.replaceChildren(...bars(now, room));
    view.table.replaceChildren(...table(now));
    const sentences = summary(now);
    view.summary.textContent = sentences.join(" ");
    say(`${FORM_NAMES[now.form]}. ${sentences[0]}`);
  }

  const away = mount({
    model,
    el,
    title: "ResNeXt explorer",
    draw,
    parts: [
      element("style", {}, STYLE_OF_RESNEXT),
      bar("Settings of the block", cardinality.node, width.node, keep.node, channels.node),
      forms.node,
      element("figure", { class: "rw-rx-figure" }, view.picture, view.caption),
      view.summary,
      view.bars,
      element("div", { class: "rw-wide" }, view.table),
    ],
  });
  const watch = new ResizeObserver(() => {
    if (roomFor(view.picture) !== before.room) draw(() => {});
  });
  watch.observe(view.picture);
  return () => {
    watch.disconnect();
    film.stop();
    away();
  };
}

function state(model) {
  return Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
}

function stageName(channels) {
  const { side } = sizes({ cardinality: 1, width: 64, channels });
  return `${channels}, ${side} × ${side}`;
}

// --- controls ---

/** Return a slider for the cardinality, from one power of two to the next. */
function powers({ label, changed }) {
  const most = CARDINALITIES.length - 1;
  const control = slider({ label, least: 0, most, changed: (index) => changed(CARDINALITIES[index]) });
  return {
    node: control.node,
    show(value) {
      control.show(CARDINALITIES.indexOf(value));
      control.node.querySelector(".rw-value").textContent = value;
      control.node.querySelector("input").setAttribute("aria-valuetext", value);
    },
  };
}

/** Return a choice whose options all stay in sight: {node, show(value)}. */
function radios({ label, options, changed }) {
  const name = freshName();
  const inputs = Object.keys(options).map((value) =>
    element("input", { type: "radio", name, value, onchange: () => changed(value) }),
  );
  return {
    node: element(
      "fieldset",
      { class: "rw-rx-forms" },
      element("legend", {}, label),
      ...inputs.map((input) => element("label", {}, input, options[input.value])),
    ),
    show(value) {
      for (const input of inputs) input.checked = input.value === value;
    },
  };
}

// --- drawing ---

/** Return the width of the drawing, in whole pixels, so that its lettering keeps its size. */
function roomFor(node) {
  return Math.min(Math.max(Math.floor(node.clientWidth || 640), 240), 700);
}

/** Return what shows scenes with `paint`; `steps` above zero make one turn into the next, those below turn it back. */
function player(paint) {
  let frame = 0;
  let shown = null;
  function put(shapes) {
    shown = shapes;
    paint(shapes);
  }
  return {
    show(target, steps) {
      cancelAnimationFrame(frame);
      if (!steps || calm()) {
        put(target);
        return;
      }
      const [first, begin] = [shown, performance.now()];
      function step(time) {
        const part = Math.min(Math.max((time - begin) / TIME, 0), 1);
        const eased = part * part * (3 - 2 * part);
        if (part === 1) put(target);
        else put(steps > 0 ? between(first, target, eased) : between(target, first, 1 - eased));
        if (part < 1) frame = requestAnimationFrame(step);
      }
      frame = requestAnimationFrame(step);
    },
    stop: () => cancelAnimationFrame(frame),
  };
}

function picture(shapes, { room, form }) {
  const seen = shapes.filter(({ o }) => o > 0).map((shape) => PAINTED[shape.shape](shape));
  return drawn(
    "svg",
    {
      viewBox: `0 0 ${room} ${HEIGHT}`,
      width: room,
      height: HEIGHT,
      role: "img",
      "aria-label": `The block in form ${FORM_NAMES[form]}.`,
    },
    ...seen,
  );
}

const PAINTED = {
  line: ({ x1, y1, x2, y2, o }) => drawn("line", { class: "rw-rx-line", x1, y1, x2, y2, opacity: o }),
  text: ({ x, y, text, o, anchor, upright }) =>
    drawn(
      "text",
      {
        class: "rw-rx-note",
        x,
        y,
        dy: "0.36em",
        "text-anchor": anchor,
        opacity: o,
        transform: upright && `rotate(-90 ${x} ${y})`,
      },
      text,
    ),
  tip: ({ x, y, turn, kind }) =>
    drawn("path", {
      class: `rw-rx-tip-${kind}`,
      d: "M0 0l-7 -4v8z",
      transform: `translate(${x} ${y}) rotate(${turn})`,
    }),
  shortcut({ from: [x1, y1], to: [x2, y2], right }) {
    const out = `M${x1} ${y1}H${right - 40}Q${right} ${y1} ${right} ${y1 + 40}`;
    const back = `V${y2 - 40}Q${right} ${y2} ${right - 40} ${y2}H${x2}`;
    return drawn("path", { class: "rw-rx-shortcut", d: out + back });
  },
  plus: ({ x, y, o }) =>
    drawn(
      "g",
      { class: "rw-rx-plus", opacity: o },
      drawn("circle", { cx: x, cy: y, r: 11 }),
      drawn("path", { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10` }),
    ),
  box({ kind, x, y, wide, high, texts, o, hollow = 0 }) {
    const middle = x + wide / 2;
    const lines = texts.map((text, index) =>
      drawn(
        "text",
        {
          class: hollow > 0.5 ? "rw-rx-gap" : "rw-rx-label",
          x: middle,
          "text-anchor": "middle",
          y: y + high / 2 + (index - (texts.length - 1) / 2) * 14.5,
          dy: "0.36em",
        },
        text,
      ),
    );
    return drawn(
      "g",
      { class: "rw-rx-box", opacity: o },
      drawn("rect", { x, y, width: wide, height: high, rx: 4, fill: FILL[kind], opacity: 1 - hollow }),
      ...lines,
    );
  },
};

/** Return what the drawing shows, in words. */
function caption(now, room) {
  const { cardinality, channels, form } = now;
  const { group, middle } = sizes(now);
  const end = "Not drawn: batch norms and ReLUs.";
  const layer = (kernel, from, to) => `${kernel} (${from}\u00a0→\u00a0${to})`;
  const path = `${layer("1×1", channels, group)}, ${layer("3×3", group, group)}`;
  const [pathEnd, end1x1] = [layer("1×1", group, channels), layer("1×1", middle, channels)];
  if (cardinality === 1) {
    return `One path: all three forms are ${path}, ${pathEnd}, one after the other. The shortcut is added. ${end}`;
  }
  const grouping = `${layer("3×3", middle, middle)} in ${cardinality} groups of ${group}`;
  const told = {
    a: `${cardinality} paths of ${path}, ${pathEnd}, whose outputs are summed`,
    b: `${cardinality} paths of ${path}, concatenated to ${middle} channels, then one ${end1x1}`,
    c: `${layer("1×1", channels, middle)}, ${grouping}, ${end1x1}`,
  };
  const first = drawnPaths(cardinality, room);
  const some = `Drawn: the first ${first > 1 ? `${first} ` : ""}and the last of ${cardinality}. `;
  const only = first + 1 < cardinality ? some : "";
  return `${told[form]}: ${calls(now)} convolutions. The shortcut is added. ${only}${end}`;
}

// --- numbers ---

function percent(ratio) {
  return `${(100 * ratio).toFixed(ratio < 0.000995 ? 2 : ratio < 0.0995 ? 1 : 0)} %`;
}

function blockName({ cardinality, width }) {
  return `${cardinality}×${width}d`;
}

/** Return one bar for this block and one for the plain one, parted as their weights are. */
function bars(now, room) {
  const both = [now, plain(now)];
  const most = Math.max(...both.map((block) => counts(block).convolutions));
  const names = Object.entries(LAYERS).map(([layer, text]) => element("span", { class: `rw-rx-${layer}` }, text));
  return [
    element("p", { class: "rw-rx-legend" }, "Weights: ", ...names.flatMap((name) => [name, " "])),
    ...both.flatMap((block, index) => [
      element("span", { class: "rw-rx-name" }, index ? `plain ${blockName(block)}` : blockName(block)),
      shares(block, most, room - 90),
    ]),
  ];
}

/** Return the bar of one block; `most` weights are as long as `room` pixels. */
function shares(block, most, room) {
  const count = counts(block);
  const share = (layer) => percent(count[layer] / count.convolutions);
  const label = Object.entries(LAYERS)
    .map(([layer, text]) => `${text} ${share(layer)}`)
    .join(", ");
  const parts = Object.keys(LAYERS).map((layer) =>
    element(
      "span",
      {
        class: `rw-rx-${layer}`,
        style: `width: ${(100 * count[layer]) / most}%`,
      },
      (count[layer] / most) * room > 36 ? share(layer) : "",
    ),
  );
  const said = `Shares of the weights of ${blockName(block)}: ${label}.`;
  return element("div", { class: "rw-rx-track", role: "img", "aria-label": said }, ...parts);
}

function table(now) {
  const [mine, other] = [counts(now), counts(plain(now))];
  const head = ["parameters", blockName(now), "plain 1×64d", "ratio"];
  const cells = (name) => [grouped(mine[name]), grouped(other[name]), percent(mine[name] / other[name])];
  const rows = Object.entries(ROWS_OF_TABLE).map(([name, text]) =>
    element(
      "tr",
      { class: `rw-rx-of-${name}` },
      element("th", { scope: "row" }, text),
      ...cells(name).map((cell) => element("td", {}, cell)),
    ),
  );
  const { side } = sizes(now);
  return [
    element(
      "caption",
      {},
      "All three forms have these numbers. " + `MACs: each weight of a convolution, at ${side} × ${side} positions.`,
    ),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows),
  ];
}

/** Return sentences that say what is equal to the plain block and what has changed. */
function summary(now) {
  const [mine, other] = [counts(now), counts(plain(now))];
  const { group, middle } = sizes(now);
  const [from, to] = [other, mine].map((count) => count.transform / count.convolutions);
  const said = [];
  if (now.cardinality === 1 && now.width === 64) {
    said.push(`This is the plain block, 1×64d: ${percent(to)} of its weights are in the 3×3.`);
  } else {
    const times = mine.convolutions / other.convolutions;
    const dearer = `${times.toFixed(times < 10 ? 2 : 1)} times the plain block's weights and MACs`;
    const moved = to === from ? "stays at" : `${to < from ? "falls" : "rises"} from ${percent(from)} to`;
    const usual = now.channels / 4;
    const many = `${middle} channel${middle === 1 ? "" : "s"}`;
    const compared = middle === usual ? `${many} in the middle, as the plain block,` : `${many} in the middle instead of ${usual},`;
    said.push(`${blockName(now)} has ${compared} at ${dearer}.`);
    said.push(`The share of the 3×3 ${moved} ${percent(to)}.`);
  }
  if (now.channels !== STAGES[0]) said.push(`In this stage ${now.width}d means ${group} channel${group === 1 ? "" : "s"} a group.`);
  if (now.keep !== "nothing" && now.cardinality > 1) said.push("No other whole width comes nearer.");
  return said;
}

const STYLE_OF_RESNEXT = `
.rw-rx-forms { border: 0; padding: 0; margin: 0 0 1em; display: flex; flex-wrap: wrap; gap: 0.2em 1.3em; min-width: 0; }
.rw-rx-forms legend { font-size: 0.85em; color: var(--rw-quiet); padding: 0; margin: 0; float: none; width: auto; }
.rw-rx-forms label { display: flex; gap: 0.4em; align-items: center; margin: 0; min-height: 1.7em; }
.rw-rx-forms input { accent-color: var(--rw-accent); margin: 0; }
.rw .rw-rx-figure { padding: 0; }
.rw-rx-picture { min-height: ${HEIGHT}px; display: flex; justify-content: center; }
.rw-rx-picture svg { font-size: 12px; }
.rw-rx-label:first-of-type:not(:last-of-type) { font-weight: 600; }
.rw .rw-rx-caption { min-height: 2.9em; text-wrap: balance; }
.rw-rx-line { stroke: var(--rw-quiet); stroke-width: 1.2; }
.rw-rx-tip-line { fill: var(--rw-quiet); }
.rw-rx-shortcut { fill: none; stroke: ${SHORTCUT}; stroke-width: 2; }
.rw-rx-tip-shortcut { fill: ${SHORTCUT}; }
.rw-rx-box rect, .rw-rx-plus circle { stroke: ${ON_FILL}; stroke-width: 0.9; }
.rw-rx-plus circle { fill: ${FILL.add}; }
.rw-rx-plus path { stroke: ${ON_FILL}; stroke-width: 1.6; }
.rw svg .rw-rx-label { fill: ${ON_FILL}; }
.rw-rx-label + .rw-rx-label { font-size: 11px; }
.rw-rx-gap { font-size: 15px; }
.rw .rw-rx-summary { min-height: 4.4em; margin: 0.9em 0 0; }
.rw-rx-bars { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.35em 0.7em; align-items: center; }
.rw .rw-rx-legend { grid-column: 1 / -1; margin: 0.3em 0 0; color: var(--rw-quiet); font-size: 0.9em; }
.rw-rx-legend span {
  color: ${ON_FILL}; border-radius: 3px; padding: 0.05em 0.4em; margin-inline: 0.15em; white-space: nowrap;
}
.rw-rx-name { white-space: nowrap; font-size: 0.9em; }
.rw-rx-track { display: flex; height: 1.7em; }
.rw-rx-track span {
  color: ${ON_FILL}; font-size: 0.88em; line-height: 1.9em; text-align: center; overflow: hidden;
  box-shadow: inset 0 0 0 0.5px ${ON_FILL};
}
.rw-rx-reduce, .rw-rx-expand { background: ${FILL.conv1x1}; }
.rw-rx-transform { background: ${FILL.conv3x3}; }
.rw .rw-rx-table {
  border-collapse: collapse; margin: 0.9em 0 0; width: 100%; font: inherit; font-variant-numeric: tabular-nums;
}
.rw-rx-table caption {
  caption-side: bottom; color: var(--rw-quiet); font-size: 0.9em; padding: 0.4em 0 0; text-align: left;
}
.rw .rw-rx-table :is(th, td) {
  padding: 0.12em 0 0.12em 0.9em; text-align: right; border: 0; background: none; font-weight: 400; white-space: nowrap;
}
.rw .rw-rx-table th:first-child { text-align: left; padding-left: 0; }
.rw .rw-rx-table thead th { color: var(--rw-quiet); border-bottom: 1px solid var(--rw-line); }
.rw .rw-rx-table :is(.rw-rx-of-convolutions, .rw-rx-of-parameters, .rw-rx-of-macs) > * {
  border-top: 1px solid var(--rw-line);
}
.rw .rw-rx-table :is(.rw-rx-of-convolutions, .rw-rx-of-macs) > * { font-weight: 600; }
@container rw (max-width: 36em) {
  .rw .rw-rx-caption { min-height: 7.3em; }
  .rw .rw-rx-summary { min-height: 8.8em; }
  .rw .rw-rx-table { font-size: 0.76em; }
  .rw .rw-rx-table :is(th, td) { padding-left: 0.2em; }
}
`;

export default { render };
