// Predict, then reveal: the shape tracer hides the shapes and asks for them, one after the other.

import { button, element } from "./kit.js";
import { labelOf, times } from "./tracer_words.js";

const AXES = ["Channels", "Height", "Width"];

/** Asks for the next shape; asked(number) is called with the operation in question. */
export class Question {
  constructor(asked) {
    this.asked = asked;
    this.node = element("div", { class: "rw-net-asking" });
    this.end();
  }

  end() {
    this.net = null;
    this.known = 0; // how many operations the reader has been shown
    this.next = -1;
    this.answer = ""; // what the last question came to
    this.node.hidden = true;
  }

  /** Ask for the next operation that changes the shape; those that keep it are shown along the way. */
  ask(net) {
    const begins = net !== this.net; // another network: from the beginning
    if (begins) this.end();
    this.net = net;
    this.node.hidden = false;
    let next = this.known;
    while (next < net.operations.length && this.keeps(net.operations[next])) next += 1;
    if (next === this.next) return; // the reader may be writing: the fields stay
    const writing = this.node.contains(document.activeElement);
    this.next = next;
    this.known = next;
    const last = next >= net.operations.length;
    const shown = last ? element("p", { role: "status", tabindex: -1 }, `${this.answer} That was the last one.`) : this.form(net.operations[next]);
    this.node.replaceChildren(shown);
    if (writing) this.node.querySelector(last ? "p" : "input").focus();
    if (!begins) this.asked(Math.min(next, net.operations.length - 1));
  }

  entering(operation) {
    return operation.inputs.map((value) => times(this.net.values[value].shape));
  }

  keeps(operation) {
    return this.entering(operation).every((shape) => shape === times(operation.shape));
  }

  /** Show the shape that was asked for, and go on. */
  show(right) {
    const operation = this.net.operations[this.next];
    this.answer = `${right ? "Right: " : ""}${labelOf(operation)} gives ${times(operation.shape)}.`;
    this.known = this.next + 1;
    this.ask(this.net);
  }

  form(operation) {
    const fields = operation.shape.map((_, axis) =>
      element("input", { type: "number", min: 1, required: true, "aria-label": AXES[axis] }),
    );
    const verdict = element("p", { class: "rw-net-verdict", role: "status" }, this.answer);
    const has = { conv: `${operation.shape[0]} kernels`, linear: `${operation.shape[0]} outputs` }[operation.kind];
    const asked =
      `${operation.path || "The network itself"}: ${labelOf(operation)} gets ${this.entering(operation).join(" and ")}${has ? `, and has ${has}` : ""}. ` +
      "Which shape comes out?";
    const check = (event) => {
      event.preventDefault();
      const given = fields.map((field) => Number(field.value));
      if (times(given) === times(operation.shape)) this.show(true);
      else verdict.textContent = `Not ${times(given)}. ${howToCount(operation)}`;
    };
    return element(
      "form",
      { class: "rw-net-question", onsubmit: check },
      element("p", { class: "rw-net-asked" }, asked),
      ...fields.flatMap((field, axis) => (axis ? [" × ", field] : [field])),
      " ",
      element("button", { type: "submit" }, "Check"),
      " ",
      button({ label: "Show it", pressed: () => this.show(false) }).node,
      verdict,
    );
  }
}

/** Return how the shape that was asked for is counted, without saying it. */
function howToCount({ kind, settings, shapes }) {
  if (!["conv", "pool"].includes(kind) || !settings.kernel) return "Count again, or have it shown.";
  const { kernel, stride, padding } = settings;
  const channels = kind === "conv" ? "Each kernel gives one channel" : "Pooling keeps the channels";
  return `${channels}, and a side is ⌊(${shapes[0][1]} + 2 · ${padding} − ${kernel}) / ${stride}⌋ + 1.`;
}
