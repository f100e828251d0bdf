// What all widgets share: elements, controls, style, and what is read aloud.

// A colour for each kind of layer, the same as in the figures (figures/palette.py).
export const FILL = {
  conv1x1: "#f4bb78",
  conv3x3: "#8cc3ec",
  conv: "#8cc3ec",
  bn: "#d6d9e0",
  relu: "#f3e27c",
  pool: "#cdb2e6",
  linear: "#8fd6b9",
  add: "#f6f6f4",
  zero: "#f0a9a0",
  tensor: "#e6ebf2",
  other: "#e3ded6",
};
export const ON_FILL = "#16181d";
export const LINES = ["#3b82c4", "#d2700f", "#21936a", "#c4528f", "#8065c9", "#7d8590"];

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Return an HTML element; attributes that begin with "on" are listeners. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Return whole numbers with their thousands parted: 25557032 as "25,557,032". */
export function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

const OWN = Math.random().toString(36).slice(2, 8); // a notebook loads this text anew for each widget
let names = 0;

/** Return a name that nothing else on the page has. */
export function freshName() {
  return `rw-${OWN}-${(names += 1)}`;
}

function labelled(label, control, after) {
  control.id = freshName();
  return element("div", { class: "rw-control" }, element("label", { for: control.id }, label), control, after);
}

/** Return a slider for a whole number: {node, show(value), limit(least, most)}. */
export function slider({ label, least, most, step = 1, changed }) {
  const number = element("span", { class: "rw-value" });
  const input = element("input", {
    type: "range",
    min: least,
    max: most,
    step,
    oninput: () => changed(Number(input.value)),
  });
  return {
    node: labelled(label, input, number),
    show(value) {
      input.value = value;
      number.textContent = value;
    },
    limit(low, high) {
      input.min = low;
      input.max = high;
      input.disabled = low >= high;
    },
  };
}

/** Return a choice among values, written as their texts: {node, show(value), offer(options)}. */
export function choice({ label, options, changed }) {
  const input = element("select", { onchange: () => changed(input.value) });
  const control = {
    node: labelled(label, input),
    show(value) {
      input.value = value;
    },
    offer(entries) {
      input.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text ?? String(value))));
    },
  };
  control.offer(options);
  return control;
}

/** Return a box to tick: {node, show(value)}. */
export function tick({ label, changed }) {
  const input = element("input", { type: "checkbox", onchange: () => changed(input.checked) });
  return {
    node: element("label", { class: "rw-control rw-tick" }, input, label),
    show(value) {
      input.checked = value;
    },
  };
}

/** Return a row of controls; label is what it is called for those who do not see it. */
export function bar(label, ...nodes) {
  return element("div", { class: "rw-controls", role: "group", "aria-label": label }, ...nodes);
}

/** Return a button: {node, name(text)}. */
export function button({ label, pressed }) {
  const node = element("button", { type: "button", onclick: pressed }, label);
  return {
    node,
    name(text) {
      node.textContent = text;
    },
    /** Say that it would do nothing now. It stays where the keyboard is: a button that is off would lose it. */
    rest(on) {
      if (on) node.setAttribute("aria-disabled", "true");
      else node.removeAttribute("aria-disabled");
    },
  };
}

let resting = ""; // where the mouse was last seen

/**
 * Return a listener for "pointermove" that acts when the mouse itself has moved.
 *
 * What is drawn anew under a resting mouse meets it, too, and must not take over from the keyboard.
 */
export function pointed(act) {
  return (event) => {
    const place = `${event.screenX} ${event.screenY}`;
    const moved = place !== resting;
    resting = place;
    if (event.pointerType === "mouse" && moved) act(event);
  };
}

/** Return whether the reader has asked for less motion. */
export function calm() {
  return globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
}

/** Return the title, with a number if another widget of the page has it already. */
function ownTitle(title) {
  const others = [...document.querySelectorAll("section.rw")].map((section) => section.dataset.title);
  const same = others.filter((other) => other === title).length;
  return same ? `${title} ${same + 1}` : title;
}

/** Keep JupyterLab from taking a control's keys for commands of its own: an arrow would leave the cell, a letter add one. */
function keepsItsKeys({ target }) {
  target.setAttribute("data-lm-suppress-shortcuts", "true"); // it asks the very element that has the focus
}

/**
 * Draw a widget now and after every change of its state; return a function that takes it away again.
 *
 * draw(say) brings everything up to date and hands the sentence for those who cannot see it to say().
 */
export function mount({ model, el, title, parts, draw }) {
  const spoken = element("p", { class: "rw-spoken", "aria-live": "polite" });
  const attributes = { class: "rw", "aria-label": ownTitle(title), "data-title": title, onfocusin: keepsItsKeys };
  const root = element("section", attributes, element("style", {}, STYLE), ...parts, spoken);
  let due = 0;
  let speaking = 0;
  function say(text) {
    clearTimeout(speaking); // while a slider moves, nothing is read; when it rests, the last sentence
    speaking = setTimeout(() => {
      spoken.textContent = text;
    }, 400);
  }
  function now() {
    due = 0;
    draw(say);
  }
  function soon() {
    due ||= requestAnimationFrame(now); // several changes at once are one drawing
  }
  model.on("change", soon);
  el.replaceChildren(root);
  now();
  return () => {
    model.off("change", soon);
    cancelAnimationFrame(due);
    clearTimeout(speaking);
  };
}

/** Change the model's state and tell the kernel, if there is one. */
export function change(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

// Colours come from the page: its text colour, and mixtures of that with its ground.
// What stands beside what is decided by the widget's own width, measured in its letters: a sidebar and large type count.
const STYLE = `
.rw {
  container: rw / inline-size;
  --rw-ink: var(--pst-color-text-base, var(--jp-content-font-color1, var(--vscode-foreground, currentColor)));
  --rw-quiet: color-mix(in srgb, var(--rw-ink) 72%, transparent);
  --rw-line: color-mix(in srgb, var(--rw-ink) 24%, transparent);
  --rw-faint: color-mix(in srgb, var(--rw-ink) 7%, transparent);
  --rw-accent: var(--book-accent, var(--jp-brand-color1, #2a78c2));
  box-sizing: border-box; color: var(--rw-ink); line-height: 1.45; margin: 0.5em 0; padding: 0.9em 1em 1em;
  font: max(0.9rem, 14px) system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  border: 1px solid var(--rw-line); border-radius: 6px;
}
.rw *, .rw *::before { box-sizing: border-box; }
.rw-controls { display: flex; flex-wrap: wrap; gap: 0.5em 1.4em; margin: 0 0 0.9em; align-items: end; }
.rw-controls:not(:has(> :not([hidden]))) { display: none; }
.rw-control {
  display: grid; grid-template-columns: minmax(0, auto) 2.2em; gap: 0.1em 0.5em; align-items: center; margin: 0;
  max-width: 100%;
}
.rw-control label { grid-column: 1 / -1; font-size: 0.85em; color: var(--rw-quiet); margin: 0; }
.rw-control > select { grid-column: 1 / -1; max-width: 100%; }
.rw-together { display: flex; flex-wrap: wrap; gap: 0.5em; }
.rw-control input[type="range"] { width: 8.5em; max-width: 100%; min-width: 0; accent-color: var(--rw-accent); margin: 0; height: 1.6em; }
.rw-control.rw-tick { display: flex; gap: 0.45em; min-height: 1.9em; }
.rw-value { font-variant-numeric: tabular-nums; font-weight: 600; padding: 0; margin: 0; }
.rw select, .rw button {
  font: inherit; color: inherit; background: var(--rw-faint); border: 1px solid var(--rw-line); border-radius: 4px;
  padding: 0.25em 0.6em; min-height: 1.9em;
}
.rw select option { color: #16181d; background: #fff; }
.rw button { cursor: pointer; }
.rw button:hover { background: var(--rw-line); }
.rw button[aria-disabled="true"] { cursor: default; opacity: 0.5; background: none; }
.rw :focus-visible { outline: 2px solid var(--rw-accent); outline-offset: 2px; }
.rw svg { display: block; max-width: 100%; height: auto; overflow: visible; }
.rw svg text { font-family: inherit; fill: currentColor; }
.rw figure { margin: 0; }
.rw-wide { overflow-x: auto; }
.rw figcaption { color: var(--rw-quiet); font-size: 0.9em; margin: 0.35em 0 0; text-align: center; }
.rw p { margin: 0.5em 0 0; }
.rw p.rw-heading { font-weight: 650; margin: 0 0 0.4em; }
@media print { .rw-controls, .rw button, .rw input[type="range"] { display: none !important; } }
.rw .rw-spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); margin: 0; }
`;
