// The shape tracer: a network as a list of rows that opens from stages to blocks to layers.

import { bar, button, change, choice, element, mount, slider, tick } from "./kit.js";
import { IMAGENET, buildNetwork, totals } from "./network_rules.js";
import { arcsOf, firstDifference, merges, rowsOf, withFailure } from "./tree_rules.js";
import {
  differenceInWords,
  factsOf,
  factsOfPart,
  labelOf,
  reasonOf,
  rowInWords,
  sumsInWords,
  titleOf,
  warningOf,
} from "./tracer_words.js";
import { ALLOWED, RANGES, faultsOf, keptOf, matters, settingsOf } from "./tracer_settings.js";
import { NetworkList, STYLE_OF_LIST, heightOf } from "./network_list.js";
import { Question } from "./tracer_question.js";
import { STYLE_OF_TRACER } from "./tracer_style.js";

const LEVELS = [["stages"], ["blocks"], ["layers"]];
const NETWORKS = [
  ...Object.keys(IMAGENET).map((name) => [name, `ResNet-${name.slice("resnet".length)}`]),
  ["cifar_resnet", "ResNet for small images"],
  ["cifar_preact_resnet", "pre-activation ResNet for small images"],
  ["cifar_plain", "plain network for small images"],
];
const FAULT_NAMES = [
  ["none", "nothing"],
  ["no-projection", "no projection in layer2.0"],
  ["projection-stride", "a projection without stride"],
  ["no-padding", "a 3 × 3 without padding"],
  ["classifier", "a classifier for other channels"],
];
const LEGEND = "Red: skip connections; the identity is a whole line, dashed ones have layers of their own. ";
const SCALE = "Rectangles: channels to the right, pixels downwards, all to one scale.";
const HOW =
  "Point at a row, or go through the list with the arrow keys: its numbers stand here. " +
  "A click or Enter opens what is closed.";

class Tracer {
  constructor(model) {
    this.model = model;
    this.picture = model.get("picture"); // a network that was traced in Python, or nothing
    this.networks = [null, null]; // the network, and the one that is kept for comparison
    this.lists = ["The network", "The kept network"].map(
      (label, number) =>
        new NetworkList({
          label,
          chosen: (selected) => this.choose(number, selected),
          toggled: (id) => this.toggle(id),
          scrolled: (top) => this.scrollTogether(number, top),
          text: (row) => rowInWords(row, this.networks[number], number ? Infinity : this.known),
        }),
    );
    this.question = new Question((number) => {
      this.choose(0, `op${number}`);
      this.draw(this.say); // the last row may be the chosen one already, and has its shape now
    });
    this.settings = this.settingControls();
    this.view = this.viewControls();
    this.active = 0; // the list whose row is explained
    this.titles = this.lists.map(() => element("p", { class: "rw-net-title" }));
    this.details = element("div", { class: "rw-net-details" });
    this.difference = element("p", { class: "rw-net-note" });
    const columns = this.lists.map((list, number) =>
      element("div", { class: "rw-net-one" }, this.titles[number], list.node),
    );
    columns[0].append(
      element(
        "p",
        { class: "rw-net-legend" },
        LEGEND,
        element("span", { class: "rw-net-to-scale" }, SCALE),
        element("span", { class: "rw-net-of-two" }, "A dashed frame: where the two first differ."),
      ),
    );
    this.body = element("div", { class: "rw-net-body" }, ...columns, this.details);
  }

  set(values) {
    change(this.model, values);
  }

  choose(number, selected) {
    this.active = number;
    this.set({ selected });
  }

  /** Keep equal rows of two networks at one height. */
  scrollTogether(number, top) {
    const other = this.lists[1 - number].node;
    if (Math.abs(other.scrollTop - top) > 1) other.scrollTop = top;
  }

  /** How many operations may be seen: all, unless the reader predicts. */
  get known() {
    return this.model.get("hide") ? this.question.known : Infinity;
  }

  // --- controls ---

  /** Return a choice whose value goes into the state under its name. */
  pick(name, label, options) {
    const numbers = typeof ALLOWED[name]?.[0] === "number";
    return choice({ label, options, changed: (value) => this.set({ [name]: numbers ? Number(value) : value }) });
  }

  drag(name, label, step) {
    const [least, most] = RANGES[name];
    return slider({ label, least, most, step, changed: (value) => this.set({ [name]: value }) });
  }

  settingControls() {
    return {
      network: this.pick("network", "Network", NETWORKS),
      size: this.drag("size", "Image, pixels a side", 1),
      stem: this.pick("stem", "Stem", [
        ["imagenet", "7 × 7 and pooling"],
        ["cifar", "3 × 3"],
      ]),
      version: this.pick("version", "Stride in", [
        ["v1.5", "the 3 × 3 (v1.5)"],
        ["v1", "the first 1 × 1 (v1)"],
      ]),
      groups: this.pick(
        "groups",
        "Cardinality",
        ALLOWED.groups.map((n) => [n]),
      ),
      width: this.drag("width", "Width of a group", 2),
      depth: this.pick(
        "depth",
        "Layers",
        ALLOWED.depth.map((n) => [n]),
      ),
      shortcut: this.pick("shortcut", "Shortcuts", [
        ["A", "A, zero padding"],
        ["B", "B, projections where needed"],
        ["C", "C, projections everywhere"],
      ]),
    };
  }

  viewControls() {
    const hide = (on) => {
      if (on) this.before = Object.fromEntries(["level", "toggled", "selected", "fault"].map((name) => [name, this.model.get(name)]));
      const after = this.before ?? { toggled: "", level: "layers" }; // what was open before is open again
      this.set(on ? { hide: on, toggled: "", selected: "image", fault: "none" } : { hide: on, ...after });
    };
    const fail = (fault) => this.set({ fault, selected: fault === "none" ? "image" : "failure" });
    return {
      level: choice({ label: "Open to", options: LEVELS, changed: (level) => this.set({ level, toggled: "" }) }),
      fault: choice({ label: "Break it", options: FAULT_NAMES, changed: fail }),
      keep: button({ label: "Keep for comparison", pressed: () => this.keep() }),
      hide: tick({ label: "Predict: hide the shapes", changed: hide }),
      back: button({ label: "Step back", pressed: () => this.step(-1) }),
      forward: button({ label: "Step forward", pressed: () => this.step(1) }),
    };
  }

  /** Return the settings; where an address has one that cannot be, the page's own. */
  chosenSettings() {
    return settingsOf(
      (name) => this.model.get(name),
      (name) => this.model.begin?.[name],
    );
  }

  /** Keep the present settings for comparison, or put the kept ones away. */
  keep() {
    const now = this.chosenSettings();
    this.set({ kept: this.model.get("kept") ? "" : JSON.stringify(now) });
  }

  step(by) {
    const { place, rows } = this.lists[0];
    this.set({ selected: rows[Math.min(Math.max(0, place + by), rows.length - 1)].id });
  }

  toggle(id) {
    const now = new Set(this.toggled());
    if (!now.delete(id)) now.add(id);
    this.set({ toggled: [...now].join(","), selected: id });
  }

  toggled() {
    return String(this.model.get("toggled")).split(",").filter(Boolean);
  }

  /** Return whether a part is open that has so many levels below it, down to the layers. */
  isOpen(id, depth) {
    const level = this.model.get("hide") ? "layers" : this.model.get("level");
    const failing = this.networks[0].net.failure?.path ?? "";
    const usual = level === "layers" || (level === "blocks" && depth > 1);
    const turned = usual !== this.toggled().includes(id);
    return turned || `${failing}.`.startsWith(`${id}.`); // where a network fails, it stands open
  }

  // --- drawing ---

  draw(say) {
    this.say = say;
    const settings = this.picture ? null : this.chosenSettings();
    const hides = this.model.get("hide");
    const kept = settings && !hides ? keptOf(this.model.get("kept")) : null; // the kept one would tell the answers
    if (kept) kept.size = settings.size; // two networks, one image
    this.remember(0, settings, () => this.picture ?? buildNetwork(settings));
    this.remember(1, kept, () => kept && buildNetwork(kept));
    const [first, second] = this.networks;
    if (!kept) this.active = 0;
    if (hides) this.question.ask(first.net);
    else this.question.end();
    this.titles[0].textContent = `${settings ? titleOf(settings) : this.picture.title}: ${sumsInWords(first)}`;
    if (kept) this.titles[1].textContent = `Compared with ${titleOf(kept)}: ${sumsInWords(second)}`;
    const differs = kept ? firstDifference(first.net.operations, second.net.operations) : null;
    this.difference.textContent = kept ? differenceInWords(first.net, second.net, differs) : "";
    this.body.classList.toggle("rw-net-two", Boolean(kept));
    this.body.classList.toggle("rw-net-asks", hides);
    this.showList(0, differs);
    this.lists[1].node.parentNode.hidden = !kept;
    if (kept) this.showList(1, differs);
    this.showControls(settings, kept);
    this.showDetails(settings);
    say(this.inWords());
  }

  /** Return the sentence for those who do not see the rows. */
  inWords() {
    const list = this.lists[this.active];
    const row = list.rows[list.place];
    if (row.kind === "failure") return this.details.innerText.replace(/\s+/g, " ");
    return rowInWords(row, this.networks[this.active], this.active ? Infinity : this.known).full;
  }

  /** Have a network with all that is derived from it; the last one again while its settings are the same. */
  remember(number, settings, build) {
    const key = JSON.stringify(settings);
    if (this.networks[number]?.key === key) return;
    const net = build();
    this.networks[number] = net && { key, net, joined: merges(withFailure(net)), sums: totals(net) };
  }

  showControls(settings, kept) {
    for (const [name, control] of Object.entries(this.settings)) {
      control.node.hidden = !settings || !matters(name, settings);
      if (settings) control.show(settings[name]);
    }
    const hides = this.model.get("hide");
    this.view.hide.node.hidden = !settings;
    for (const name of ["fault", "keep"]) this.view[name].node.hidden = !settings || hides; // both would tell shapes
    this.view.level.node.hidden = hides || !this.lists[0].rows.some((row) => row.expandable);
    if (settings) {
      this.view.fault.offer(FAULT_NAMES.filter(([fault]) => faultsOf(settings).includes(fault)));
      this.view.fault.show(settings.fault);
    }
    this.view.level.show(this.model.get("level"));
    this.view.hide.show(this.model.get("hide"));
    const { place, rows } = this.lists[0];
    this.view.back.rest(place === 0);
    this.view.forward.rest(place === rows.length - 1);
    this.view.keep.name(kept ? "End the comparison" : "Keep for comparison");
  }

  showList(number, difference) {
    const { net, joined } = this.networks[number];
    const rows = rowsOf(net.operations, (id, depth) => this.isOpen(id, depth));
    const end = net.operations.length;
    if (net.failure)
      rows.push({ id: "failure", kind: "failure", level: rows[rows.length - 1].level, from: end, to: end + 1 });
    // Never higher than all its rows would be, so that a short one leaves no empty space, opened or closed.
    this.lists[number].node.style.maxHeight = heightOf(rowsOf(net.operations, () => true).length + (net.failure ? 1 : 0));
    const holds = (row) => !row.open && row.from <= difference && difference < row.to;
    this.lists[number].show({
      net,
      rows,
      arcs: arcsOf(rows, withFailure(net), joined),
      selected: this.model.get("selected"),
      known: number ? Infinity : this.known,
      differs: difference === null ? -1 : rows.findIndex(holds),
    });
  }

  showDetails(settings) {
    const { net, joined } = this.networks[this.active];
    const list = this.lists[this.active];
    const row = list.rows[list.place];
    const known = this.active ? Infinity : this.known;
    if (row.kind !== "image") this.body.classList.add("rw-net-used"); // from now on it keeps the room of a layer's facts
    const show = (title, ...more) => {
      const heading = element("p", { class: "rw-heading" }, this.active ? `Compared with: ${title}` : title);
      this.details.replaceChildren(heading, ...more);
    };
    if (row.kind === "image") show(`The ${net.input ?? "image"}`, ...paragraphs(warningOf(net), HOW));
    else if (row.kind === "failure") show(`${net.failure.name} fails`, this.reason(net.failure, settings));
    else if (row.to > known) show("Not yet shown");
    else if (row.kind === "layer") {
      const operation = net.operations[row.from];
      const merge = joined.find(({ index }) => index === row.from);
      const place = operation.path ? `, in ${operation.path}` : "";
      show(`${labelOf(operation)}${place}`, table(factsOf(operation, net.values, merge)));
    } else {
      const entry = row.from > 0 ? Math.min(...net.operations[row.from].inputs) : 0;
      show(row.label, table(factsOfPart({ ...row, entry }, net.values)));
    }
  }

  /** Return where and why a network ends early, and what mends it. */
  reason(failure, settings) {
    const [seen, mend] = reasonOf(failure, settings?.fault);
    const where = failure.path ? `In ${failure.path} the network fails. ` : "Here the network fails. ";
    return element(
      "div",
      { class: "rw-net-reason" },
      element("p", {}, element("b", {}, where), seen),
      ...paragraphs(mend),
    );
  }
}

function paragraphs(...texts) {
  return texts.filter(Boolean).map((text) => element("p", {}, text));
}

function table(facts) {
  const lines = facts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));
  return element("dl", {}, ...lines);
}

/** Return the controls' nodes; those for single steps stay side by side. */
function nodesOf({ back, forward, ...others }) {
  const nodes = Object.values(others).map(({ node }) => node);
  return back ? [...nodes, element("div", { class: "rw-together" }, back.node, forward.node)] : nodes;
}

function render({ model, el }) {
  const tracer = new Tracer(model);
  return mount({
    model,
    el,
    title: "Shape tracer",
    draw: (say) => tracer.draw(say),
    parts: [
      element("style", {}, STYLE_OF_LIST + STYLE_OF_TRACER),
      bar("Settings of the network", ...nodesOf(tracer.settings)),
      bar("What is shown", ...nodesOf(tracer.view)),
      tracer.question.node,
      tracer.body,
      tracer.difference,
    ],
  });
}

export default { render };
