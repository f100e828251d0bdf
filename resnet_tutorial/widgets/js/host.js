// Brings a page's widgets to life where there is no kernel: the state stands in the page,
// and what the reader changes goes into the page's address, which can be handed on.

/** A model as anywidget's, without a kernel: `begin` is the state in the page, `key` its name in the address. */
export class PageModel {
  constructor(key, begin) {
    this.key = key;
    this.begin = begin;
    this.values = { ...begin, ...this.fromAddress() };
    this.listeners = new Map();
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    this.tell(`change:${name}`);
    this.tell("change");
  }

  on(event, listener) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }

  off(event, listener) {
    this.listeners.set(
      event,
      (this.listeners.get(event) ?? []).filter((known) => known !== listener),
    );
  }

  tell(event) {
    for (const listener of this.listeners.get(event) ?? []) listener();
  }

  /** Write what differs from the page's own state into the address. */
  save_changes() {
    clearTimeout(this.saving); // browsers refuse when a slider writes hundreds of times
    this.saving = setTimeout(() => history.replaceState(history.state, "", this.address()), 150);
  }

  /** Return the page's address with this widget's state in it. */
  address() {
    const address = new URL(location.href);
    for (const [name, value] of Object.entries(this.values)) {
      const field = `${this.key}.${name}`;
      if (value === this.begin[name] || typeof value === "object") address.searchParams.delete(field);
      else address.searchParams.set(field, value);
    }
    return address;
  }

  /** Take the state from the address: the reader has gone back or forward. */
  follow() {
    for (const [name, value] of Object.entries({ ...this.begin, ...this.fromAddress() })) this.set(name, value);
  }

  /** Return whether somebody chose this view and handed the address on. */
  isHandedOn() {
    return Object.keys(this.fromAddress()).length > 0;
  }

  /** Return what the address says about this widget, in the types of the page's own state. */
  fromAddress() {
    const found = {};
    for (const [field, text] of new URL(location.href).searchParams) {
      const name = field.startsWith(`${this.key}.`) ? field.slice(this.key.length + 1) : "";
      const known = this.begin[name];
      if (typeof known === "number" && text.trim() && Number.isFinite(Number(text))) found[name] = Number(text);
      if (typeof known === "boolean") found[name] = text === "true";
      if (typeof known === "string") found[name] = text;
    }
    return found;
  }
}

/** Keep the table that stood in a widget's place: on paper it is complete, where a list on the screen can be scrolled. */
function forPrint(nodes) {
  const kept = document.createElement("div");
  kept.className = "book-widget-paper";
  kept.hidden = true;
  kept.append(...nodes);
  return kept;
}

/** Return whether the page was opened by its address, and not loaded again or returned to. */
function isFreshVisit() {
  return performance.getEntriesByType("navigation")[0]?.type === "navigate";
}

/** Show every widget of the page whose script is there. */
export function wake(widgets, page = document) {
  const seen = {};
  let handedOn = null; // the first widget that an address speaks of
  for (const node of page.querySelectorAll(".book-widget")) {
    const { widget, state } = node.dataset;
    seen[widget] = (seen[widget] ?? 0) + 1;
    const key = seen[widget] === 1 ? widget : `${widget}${seen[widget]}`;
    const instead = [...node.childNodes];
    try {
      const model = new PageModel(key, JSON.parse(state));
      widgets[widget].render({ model, el: node });
      node.append(forPrint(instead));
      if (model.isHandedOn()) handedOn ??= node;
      addEventListener("popstate", () => model.follow());
    } catch (problem) {
      console.error(`The widget ${widget} cannot be shown:`, problem);
      node.replaceChildren(...instead); // the table says the same, standing still
    }
  }
  if (!handedOn || location.hash || !isFreshVisit()) return;
  addEventListener("load", () => handedOn.scrollIntoView()); // by then all above it has its height
}
