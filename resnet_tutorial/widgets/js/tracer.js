// The shape tracer: a network as a list of rows that opens from stages to blocks to layers.

import { button, change, choice, element, grouped, mount, slider, tick } from "./kit.js";
import { CIFAR, FAULTS, IMAGENET, buildNetwork, totals } from "./network_rules.js";
import { arcsOf, firstDifference, merges, outline, rowsOf } from "./tree_rules.js";
import { arithmetic, factsOf, factsOfPart, labelOf, memory, reasonOf, times, titleOf } from "./tracer_words.js";
import { NetworkList, STYLE_OF_LIST } from "./network_list.js";

const LEVELS = [["stages", "stages"], ["blocks", "blocks"], ["layers", "layers"]];
const FAULT_NAMES = {
  none: "nothing", "no-projection": "no projection in stage 2", "projection-stride": "a projection without stride",
  "no-padding": "a 3 × 3 without padding", classifier: "too narrow a classifier",
};
const ALLOWED = {
  network: [...Object.keys(IMAGENET), ...CIFAR], stem: ["imagenet", "cifar"], version: ["v1.5", "v1"],
  groups: [1, 2, 4, 8, 16, 32, 64], depth: [8, 20, 32, 44, 56, 110], shortcut: ["A", "B", "C"], fault: FAULTS,
};
const LEGEND = "Red: skip connections; the identity is a whole line, dashed ones have layers of their own. "
  + "Rectangles: channels to the right, pixels downwards, all to one scale.";
const HOW = "Point at a row, or go through the list with the arrow keys: its numbers stand here. A click or Enter opens what is closed.";
const RANGES = { size: [16, 320], width: [4, 128] };

/** Return settings that can be built, whatever came from an address or a kernel. */
function settingsOf(read) {
  const settings = {};
  for (const [name, allowed] of Object.entries(ALLOWED)) settings[name] = allowed.includes(read(name)) ? read(name) : allowed[0];
  for (const [name, [least, most]] of Object.entries(RANGES)) settings[name] = Math.min(Math.max(least, Math.round(read(name)) || least), most);
  settings.baseWidth = settings.width;
  return settings;
}

/** Return whether a setting matters for a network: a basic block has no groups, and so on. */
function matters(name, { network }) {
  const cifar = network.startsWith("cifar");
  const bottlenecks = !cifar && IMAGENET[network][0] === "bottleneck";
  return {
    stem: !cifar, version: bottlenecks, groups: bottlenecks, width: bottlenecks, depth: cifar, shortcut: cifar && network !== "cifar_plain",
  }[name] ?? true;
}

function render({ model, el }) {
  const picture = model.get("picture");  // a network that was traced in Python, or nothing
  const set = (values) => change(model, values);
  const fields = controlsOf(model, set);
  const known = { count: 0 };  // how many operations a reader who predicts has been shown
  const view = partsOf();
  const lists = [0, 1].map((number) => new NetworkList({
    label: number ? "The kept network" : "The network", chosen: (id) => set({ selected: id }), toggled: toggle, text: (row) => words(row, number),
  }));
  const nets = [null, null];

  function toggle(id) {
    const now = new Set(String(model.get("toggled")).split(",").filter(Boolean));
    if (!now.delete(id)) now.add(id);
    set({ toggled: [...now].join(","), selected: id });
  }

  /** depth: how many levels there are from here down to the layers. */
  function isOpen(id, depth) {
    const byLevel = model.get("hide") || model.get("level") === "layers" || (model.get("level") === "blocks" && depth > 1);
    return Boolean(byLevel) !== String(model.get("toggled")).split(",").includes(id);
  }

  /** Return a network with all that is derived from it; the last one again while nothing has changed. */
  function derived(number, key, build) {
    if (nets[number]?.key !== key) {
      const net = build();
      nets[number] = { key, net, joined: merges(net.operations), sums: totals(net) };
    }
    return nets[number];
  }

  function listed(number) {
    const { net, joined } = nets[number];
    const rows = rowsOf(net.operations, isOpen).map((row) => ({ ...row, entry: entryOf(net, row) }));
    if (net.failure) rows.push({ id: "failure", kind: "failure", level: 1, from: net.operations.length, to: net.operations.length + 1 });
    return { net, rows, arcs: arcsOf(rows, net.operations, joined) };
  }

  function words(row, number) {
    const { net, joined } = nets[number];
    return wordsOf(row, net, joined, number ? Infinity : shownUpTo());
  }

  function shownUpTo() {
    return model.get("hide") ? known.count : Infinity;
  }

  function draw(say) {
    const settings = picture ? null : settingsOf((name) => model.get(name));
    const kept = settings && keptOf(model.get("kept"));
    if (settings) showControls(fields, settings, model, kept);
    fields.view.level.show(model.get("level"));
    const first = derived(0, JSON.stringify(settings), () => picture ?? buildNetwork(settings));
    const second = kept && derived(1, JSON.stringify(kept), () => buildNetwork(kept));
    const differs = second && firstDifference(first.net.operations, second.net.operations);
    for (const [number, list] of lists.entries()) {
      list.node.parentNode.hidden = number === 1 && !second;
      if (number === 1 && !second) continue;
      const shown = listed(number);
      const at = differs === null || differs === undefined || !second ? -1 : rowWith(shown.rows, differs);
      list.show({ ...shown, selected: model.get("selected"), known: number ? Infinity : shownUpTo(), differs: at });
    }
    const title = settings ? titleOf(settings) : picture.title;
    view.titles[0].textContent = `${title}: ${sumsInWords(first)}`;
    if (second) view.titles[1].textContent = `Kept: ${titleOf(kept)}: ${sumsInWords(second)}`;
    view.body.classList.toggle("rw-net-two", Boolean(second));
    view.body.classList.toggle("rw-net-asks", model.get("hide"));
    view.difference.textContent = second ? differenceInWords(first.net, second.net, differs) : "";
    showDetails(view, lists[0], first, shownUpTo());
    showFailure(view, first.net, settings);
    showQuestion(view, first.net, known, model.get("hide"), revealed);
    const row = lists[0].rows[lists[0].place];
    say(first.net.failure ? view.failure.textContent : words(row, 0).full);
  }

  /** The reader has answered or given up: show the next operation, and those after it that keep the shape. */
  function revealed(count) {
    known.count = count;
    set({ selected: `op${count - 1}` });
    again();
  }

  view.step.replaceChildren(
    button({ label: "Step back", pressed: () => step(-1) }).node, button({ label: "Step forward", pressed: () => step(1) }).node,
  );
  function step(by) {
    const list = lists[0];
    const to = Math.min(Math.max(0, list.place + by), list.rows.length - 1);
    if (to >= 0) set({ selected: list.rows[to].id });
  }

  const controls = element("div", { class: "rw-controls", role: "group", "aria-label": "The network" }, ...Object.values(fields.network).map(({ node }) => node));
  const more = element("div", { class: "rw-controls", role: "group", "aria-label": "What is shown" }, ...Object.values(fields.view).map(({ node }) => node), view.step);
  const one = (list, number) => element("div", { class: "rw-net-one" }, view.titles[number], list.node);
  view.body.append(...lists.map(one), view.details);
  lists[0].node.after(element("p", { class: "rw-net-legend" }, LEGEND), view.failure);
  controls.hidden = Boolean(picture);
  if (picture) for (const name of ["fault", "keep", "hide"]) fields.view[name].node.hidden = true;
  let again = () => {};
  return mount({
    model, el, title: "Shape tracer", draw: (say) => {
      again = () => draw(say);
      draw(say);
    },
    parts: [
      element("style", {}, STYLE_OF_LIST + STYLE_OF_TRACER), controls, more,
      view.body, view.difference, view.question,
    ],
  });
}

function partsOf() {
  return {
    titles: [0, 1].map(() => element("p", { class: "rw-net-title" })), difference: element("p", { class: "rw-net-note" }),
    failure: element("div", { class: "rw-net-reason" }), question: element("div"), details: element("div", { class: "rw-net-details" }),
    step: element("div", { class: "rw-net-step" }), body: element("div", { class: "rw-net-body" }),
  };
}

function controlsOf(model, set) {
  const pick = (name, label, options) => choice({ label, options, changed: (value) => set({ [name]: typeof ALLOWED[name]?.[0] === "number" ? Number(value) : value }) });
  const networks = [...Object.keys(IMAGENET).map((name) => [name, `ResNet-${name.slice(6)}`]),
    ["cifar_resnet", "ResNet for small images"], ["cifar_preact_resnet", "the same, pre-activation"], ["cifar_plain", "the same without shortcuts"]];
  return {
    network: {
      network: pick("network", "Network", networks),
      size: slider({ label: "Image, pixels a side", least: 16, most: 320, changed: (size) => set({ size }) }),
      stem: pick("stem", "Stem", [["imagenet", "7 × 7 and pooling"], ["cifar", "3 × 3"]]),
      version: pick("version", "Stride in", [["v1.5", "the 3 × 3 (v1.5)"], ["v1", "the first 1 × 1 (v1)"]]),
      groups: pick("groups", "Cardinality", ALLOWED.groups.map((n) => [n])),
      width: slider({ label: "Width of a group", least: 4, most: 128, step: 2, changed: (width) => set({ width }) }),
      depth: pick("depth", "Layers", ALLOWED.depth.map((n) => [n])),
      shortcut: pick("shortcut", "Shortcuts", [["A", "A, zero padding"], ["B", "B, projections where needed"], ["C", "C, projections everywhere"]]),
    },
    view: {
      level: choice({ label: "Open to", options: LEVELS, changed: (level) => set({ level, toggled: "" }) }),
      fault: pick("fault", "Break it", Object.entries(FAULT_NAMES)),
      keep: button({ label: "Keep for comparison", pressed: () => set({ kept: model.get("kept") ? "" : JSON.stringify(settingsOf((name) => model.get(name))) }) }),
      hide: tick({ label: "Predict: hide the shapes", changed: (hide) => set({ hide, toggled: "", selected: "image" }) }),
    },
  };
}

function showControls(fields, settings, model, kept) {
  for (const [name, field] of Object.entries(fields.network)) {
    field.show(settings[name]);
    field.node.hidden = !matters(name, settings);
  }
  fields.view.fault.show(settings.fault);
  fields.view.hide.show(model.get("hide"));
  fields.view.keep.name(kept ? "Put the kept one away" : "Keep for comparison");
}

function keptOf(text) {
  if (!text) return null;
  try {
    const kept = JSON.parse(text);
    return settingsOf((name) => kept?.[name]);
  } catch {
    return null;  // an address that somebody has cut
  }
}

// --- words for rows ---

function entryOf(net, row) {
  return row.from > 0 ? net.operations[row.from].inputs.reduce((one, other) => Math.min(one, other)) : 0;
}

function rowWith(rows, operation) {
  return rows.findIndex((row) => !row.open && row.from <= operation && operation < row.to);
}

function wordsOf(row, net, joined, known) {
  if (row.kind === "image") return { name: "image", shape: times(net.values[0].shape), full: `The image, ${times(net.values[0].shape)}` };
  if (row.kind === "failure") return { name: `${net.failure.name} fails`, shape: "", full: `${net.failure.name} fails here` };
  const shape = row.to <= known ? times(net.values[row.to].shape) : "?";
  if (row.kind !== "layer") {
    const inside = joined.filter(({ index }) => index >= row.from && index < row.to);
    const projections = inside.filter(({ shortcut }) => shortcut.length).length;
    const blocks = row.kind === "group" && row.blocks.length ? ` × ${row.blocks.length}` : "";
    const skips = inside.length ? `, ${inside.length} skip connection${inside.length > 1 ? "s" : ""}, ${projections} of them not the identity` : "";
    return { name: `${row.label}${blocks}`, shape, full: `${row.label}${blocks}: ${shape}${skips}` };
  }
  const operation = net.operations[row.from];
  const merge = joined.find(({ index }) => index === row.from);
  if (merge && operation.kind === "add") return additionInWords(merge, net, shape);
  const beside = joined.some(({ shortcut }) => shortcut.includes(row.from)) ? ", on the shortcut" : "";
  return { name: labelOf(operation), shape, full: `${labelOf(operation)}${beside}, gives ${shape}` };
}

/** Both branches stand beside an addition. */
function additionInWords({ branch, shortcut, fork }, { values }, shape) {
  if (shape === "?") return { name: "addition", shape, full: "addition, gives ?" };
  const end = (ways) => times(values[ways.length ? ways[ways.length - 1] + 1 : fork].shape);
  const full = `addition of the branch, ${end(branch)}, and the ${shortcut.length ? "shortcut" : "identity"}, ${end(shortcut)}, gives ${shape}`;
  return { name: "add", shape: `${end(branch)}  +  ${end(shortcut)}`, full, wide: true };
}

function sumsInWords({ net, sums }) {
  const parts = [`${sums.operations} operations`, `${grouped(sums.params)} parameters`, `${arithmetic(sums.macs)} multiply-accumulates`, `${memory(sums.bytes)} of results`];
  return `${parts.join(", ")}${net.failure ? ", up to where it fails" : ""}.`;
}

function differenceInWords(one, other, index) {
  if (index === null) return "The two do the same, operation for operation.";
  const [a, b] = [one.operations[index], other.operations[index]];
  if (!a || !b) return `They agree as far as both go: ${index} operations.`;
  const at = a.path === b.path ? a.path || "the network itself" : `${a.path} and ${b.path}`;
  return `They first differ at operation ${index + 1}, in ${at}: ${labelOf(a)} gives ${times(a.shape)}; in the kept one, ${labelOf(b)} gives ${times(b.shape)}.`;
}

// --- below the list ---

function table(facts) {
  return element("dl", {}, ...facts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text))));
}

function showDetails({ details }, list, { net, joined }, known) {
  const row = list.rows[list.place];
  const hidden = row.to > known;
  const title = (text) => element("p", { class: "rw-heading" }, text);
  if (row.kind === "image") details.replaceChildren(title("The image"), element("p", {}, HOW));
  else if (row.kind === "failure" || hidden) {
    details.replaceChildren(title(hidden ? "Not yet shown" : net.failure.path || "The network"));
  } else if (row.kind === "layer") {
    const operation = net.operations[row.from];
    const merge = joined.find(({ index }) => index === row.from);
    details.replaceChildren(title(`${labelOf(operation)}${operation.path ? `, in ${operation.path}` : ""}`), table(factsOf(operation, net.values, merge)));
  } else details.replaceChildren(title(row.label), table(factsOfPart(row, net.values)));
}

function showFailure({ failure }, net, settings) {
  failure.hidden = !net.failure;
  if (!net.failure) return;
  const [seen, mend] = reasonOf(net.failure, settings?.fault);
  const where = net.failure.path ? `In ${net.failure.path} the network ends. ` : "Here the network ends. ";
  failure.replaceChildren(element("p", {}, element("b", {}, where), seen), element("p", {}, mend));
}

/** Ask for the shape of the next operation that changes it; those that keep it are shown along the way. */
function showQuestion({ question }, net, known, hide, revealed) {
  question.hidden = !hide;
  if (!hide) {
    known.count = 0;
    question.asked = null;
    return;
  }
  const keeps = (operation) => operation.inputs.every((value) => times(net.values[value].shape) === times(operation.shape));
  let next = known.count;
  while (next < net.operations.length && keeps(net.operations[next])) next += 1;
  const key = `${next} ${net.operations.length}`;
  if (question.asked === key) return;  // the reader is writing: leave the fields alone
  question.asked = key;
  known.count = next;
  if (next >= net.operations.length) {
    question.replaceChildren(element("p", {}, "That was the last one."));
    return;
  }
  const operation = net.operations[next];
  const fields = operation.shape.map((_, axis) => element("input", { type: "number", min: 1, "aria-label": ["Channels", "Height", "Width"][axis] }));
  const verdict = element("span", { role: "status" });
  const check = () => {
    const right = fields.every((field, axis) => Number(field.value) === operation.shape[axis]);
    verdict.textContent = right ? "Right." : `Not ${times(fields.map((field) => field.value || "?"))}: count again, or have it shown.`;
    if (right) revealed(next + 1);
  };
  question.replaceChildren(element("form", {
    class: "rw-net-question", onsubmit: (event) => {
      event.preventDefault();
      check();
    },
  }, element("p", {}, `${operation.path || "The network itself"}: ${labelOf(operation)} gets ${operation.inputs.map((value) => times(net.values[value].shape)).join(" and ")}`
    + `${operation.kind === "conv" ? `, and has ${operation.shape[0]} kernels` : ""}. Which shape comes out?`),
  ...fields.flatMap((field, axis) => (axis ? [" × ", field] : [field])), " ", element("button", { type: "submit" }, "Check"), " ",
  button({ label: "Show it", pressed: () => revealed(next + 1) }).node, " ", verdict));
}

const STYLE_OF_TRACER = `
.rw [hidden] { display: none !important; }
.rw-net-body { display: grid; grid-template-columns: minmax(0, 1fr) 16.5em; gap: 0.7em 1em; }
.rw-net-body.rw-net-two { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
.rw-net-two .rw-net-details { grid-column: 1 / -1; }
.rw-net-two .rw-net-scale { display: none; }
.rw-net-one { min-width: 0; display: flex; flex-direction: column; }
.rw p.rw-net-title { min-height: 2.9em; font-size: 0.95em; margin: 0 0 0.4em; }
.rw-net-step { display: flex; gap: 0.5em; }
.rw-net-details { min-height: 21em; }
.rw-net-two .rw-net-details { min-height: 9.5em; }
.rw-net-two .rw-net-details .rw-heading { min-height: 0; }
.rw-net-two .rw-net-details dl { columns: 2; }
.rw-net-asks .rw-net-details { min-height: 0; }
.rw-net-details dl > div { break-inside: avoid; }
.rw-net-details .rw-heading { min-height: 2.6em; }
.rw-net-details dl { margin: 0; }
.rw-net-details dt { color: var(--rw-quiet); font-weight: 400; font-size: 0.9em; }
.rw-net-details dd { margin: 0 0 0.35em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.rw-net-reason { border-left: 4px solid #cf4a63; padding: 0.1em 0 0.1em 0.8em; margin-top: 0.7em; }
.rw p.rw-net-legend { color: var(--rw-quiet); font-size: 0.85em; margin-top: 0.4em; }
.rw-net-question input { font: inherit; width: 5.2em; color: inherit; background: var(--rw-faint); border: 1px solid var(--rw-line); border-radius: 4px; padding: 0.2em 0.4em; }
@media (max-width: 640px) { .rw-net-body, .rw-net-body.rw-net-two { grid-template-columns: minmax(0, 1fr); } .rw-net-details { min-height: 15em; } .rw-net-details .rw-heading { min-height: 0; } .rw-net-asks .rw-net-details { min-height: 6em; } }
`;

export default { render };
