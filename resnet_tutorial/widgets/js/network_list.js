// A network as a list of rows: boxes on a line, arcs beside it, names, shapes, and tensors drawn to scale.
//
// Only the rows in sight are in the page, so that 500 layers are no slower than ten.

import { FILL, ON_FILL, drawn, element, freshName, pointed } from "./kit.js";

const ROW = 30; // pixels
const BEYOND = 6; // rows kept ready above and below
const LINE = 60; // where the main line runs
const LANE = 20;
const SHORTCUT = "#cf4a63";

/** Return how high a list with so many rows is, its frame included. */
export function heightOf(rows) {
  return `${rows * ROW + 2}px`;
}

/** Return the key of FILL for an operation. */
export function fillOf({ kind, settings }) {
  if (kind === "conv") return { 1: "conv1x1", 3: "conv3x3" }[settings.kernel] ?? "conv";
  return { norm: "bn", activation: "relu", pool: "pool", linear: "linear", add: "add", concat: "add" }[kind] ?? "other";
}

/**
 * The list of one network's rows; `chosen(id)` and `toggled(id)` are called when a reader points at a row or opens it.
 *
 * show({net, rows, arcs, selected, known, differs}) brings it up to date. A row is read out by what text(row) returns.
 */
export class NetworkList {
  constructor({ label, chosen, toggled, text, scrolled }) {
    Object.assign(this, {
      chosen,
      toggled,
      text,
      scrolled,
      name: freshName(),
      rows: [],
      selected: "image",
      inSight: "",
    });
    this.space = element("div", { class: "rw-net-space", role: "presentation" });
    this.node = element(
      "div",
      {
        class: "rw-net-list",
        role: "tree",
        tabindex: 0,
        "aria-label": label,
        onscroll: () => {
          this.draw();
          this.scrolled(this.node.scrollTop);
        },
        onkeydown: (event) => this.pressed(event),
        onpointermove: pointed((event) => this.chosen(this.under(event).id)),
        onclick: (event) => this.clicked(this.under(event)),
      },
      this.space,
    );
  }

  show(view) {
    Object.assign(this, view);
    const at = (name) => Math.max(...view.net.values.map(({ shape }) => shape[name] ?? 1));
    this.scale = { channels: at(0), side: at(1) };
    this.space.style.height = `${this.rows.length * ROW}px`;
    if (this.whatIsChosen !== this.inSight) this.reveal();
    this.draw();
  }

  /** The number of the selected row; where a layer is selected that is closed away, the row that holds it. */
  get place() {
    const exact = this.rows.findIndex(({ id }) => id === this.selected);
    if (exact >= 0) return exact;
    const operation = Number(/^op(\d+)$/.exec(this.selected)?.[1] ?? -1);
    return Math.max(
      0,
      this.rows.findIndex((row) => !row.open && row.from <= operation && operation < row.to),
    );
  }

  /** What is brought into sight when it changes: another row, or the same one elsewhere in another network. */
  get whatIsChosen() {
    return `${this.selected} ${this.place}`;
  }

  reveal() {
    this.inSight = this.whatIsChosen;
    const rows = Math.floor((this.node.clientHeight || 480) / ROW); // that are seen whole
    const first = Math.ceil(this.node.scrollTop / ROW);
    if (first <= this.place && this.place < first + rows) return;
    const isNear = first - 3 <= this.place && this.place < first + rows + 2;
    // From row to row the list moves by as little as it must; what is far away comes into the middle.
    const begin = this.place < first ? this.place : this.place - rows + 1;
    this.node.scrollTop = ROW * (isNear ? begin : Math.max(0, this.place - Math.floor(rows / 2)));
  }

  pressed(event) {
    const row = this.rows[this.place];
    const to = {
      ArrowDown: this.place + 1,
      ArrowUp: this.place - 1,
      Home: 0,
      End: this.rows.length - 1,
      PageDown: this.place + 10,
      PageUp: this.place - 10,
    }[event.key];
    if (to !== undefined) {
      this.selected = this.rows[Math.min(Math.max(0, to), this.rows.length - 1)].id; // a second key may come before we draw
      this.chosen(this.selected);
    } else if (event.key === "ArrowRight" && row.expandable && !row.open) this.toggled(row.id);
    else if (event.key === "ArrowRight" && row.expandable) this.chosen(this.rows[this.place + 1].id);
    else if (event.key === "ArrowLeft" && row.expandable && row.open) this.toggled(row.id);
    else if (event.key === "ArrowLeft") this.chosen(this.parent(row).id);
    else if ((event.key === "Enter" || event.key === " ") && row.expandable) this.toggled(row.id);
    else return;
    event.preventDefault();
  }

  /** Return the row under an event: by its place, since a row may be drawn anew between pressing and letting go. */
  under(event) {
    const known = event.target.closest?.("[role=treeitem]")?.getAttribute("aria-posinset");
    const number = known ? known - 1 : Math.floor((event.clientY - this.space.getBoundingClientRect().top) / ROW);
    return this.rows[Math.min(Math.max(0, number), this.rows.length - 1)];
  }

  clicked(row) {
    if (row.expandable) this.toggled(row.id);
    else this.chosen(row.id);
  }

  parent(row) {
    const before = this.rows.slice(0, this.rows.indexOf(row)).reverse();
    return before.find(({ level }) => level < row.level) ?? row;
  }

  draw() {
    const from = Math.max(0, Math.floor(this.node.scrollTop / ROW) - BEYOND);
    const to = Math.min(
      this.rows.length,
      Math.ceil((this.node.scrollTop + (this.node.clientHeight || 480)) / ROW) + BEYOND,
    );
    const numbers = [];
    for (let number = from; number < to; number += 1) numbers.push(number);
    if (this.rows.length && !numbers.includes(this.place)) numbers.push(this.place); // what has the focus must exist
    this.space.replaceChildren(...numbers.map((number) => this.row(number)));
    this.node.setAttribute("aria-activedescendant", this.idOf(this.place));
  }

  idOf(number) {
    return `${this.name}-${number}`;
  }

  row(number) {
    const row = this.rows[number];
    const chosen = number === this.place;
    const classes = [
      "rw-net-row",
      `rw-net-${row.kind}`,
      chosen && "rw-net-chosen",
      number === this.differs && "rw-net-differs",
    ];
    const { name, shape, full, wide } = this.text(row);
    if (wide) classes.push("rw-net-wide");
    return element(
      "div",
      {
        id: this.idOf(number),
        class: classes.filter(Boolean).join(" "),
        role: "treeitem",
        "aria-level": row.level,
        "aria-setsize": this.rows.length,
        "aria-posinset": number + 1,
        "aria-selected": String(chosen),
        "aria-expanded": row.expandable ? String(row.open) : null,
        "aria-label": full,
        style: `top:${number * ROW}px`,
      },
      this.gutter(row, number),
      element(
        "span",
        { class: "rw-net-name", style: `--depth:${row.level - 1}`, title: name },
        row.expandable ? `${row.open ? "▾" : "▸"} ${name}` : name,
      ),
      element("span", { class: "rw-net-shape" }, shape),
      this.tensor(row),
    );
  }

  /** Return a rectangle as wide as the channels and as high as the map, to one scale for the whole network. */
  tensor(row) {
    const ends = this.net.failure && row.kind !== "layer" && row.to >= this.net.operations.length;
    const shown = row.to <= this.known && !ends;
    const [channels, side = 1] = shown ? this.net.values[row.to].shape : [0, 0];
    const width = (100 * channels) / this.scale.channels;
    const height = Math.max(1.5, ((ROW - 6) * side) / this.scale.side);
    const box =
      shown &&
      element("span", { class: "rw-net-tensor", style: `width:${width.toFixed(1)}%;height:${height.toFixed(1)}px` });
    return element("span", { class: "rw-net-scale" }, ...(box ? [box] : []));
  }

  gutter(row, number) {
    const { loops, lanes, side } = this.arcs[number];
    const middle = ROW / 2;
    const x = LINE - side * LANE;
    const parts = [];
    const line = (from, to) => parts.push(drawn("path", { class: "rw-net-line", d: `M${LINE} ${from}V${to}` }));
    if (number > 0) line(0, number < this.rows.length - 1 ? ROW : middle);
    else line(middle, ROW);
    for (const { lane, part, identity } of lanes) parts.push(arcPiece(LINE - lane * LANE, middle, part, identity));
    loops.slice(0, 3).forEach((identity, nth) => parts.push(loop(x - 13, middle, 9 + 6 * nth, identity)));
    if (loops.length > 3) parts.push(drawn("text", { class: "rw-net-count", x: 1, y: middle + 4 }, `×${loops.length}`));
    parts.push(...this.boxes(row, x, middle));
    return drawn("svg", { class: "rw-net-gutter", width: LINE + 16, height: ROW, "aria-hidden": "true" }, ...parts);
  }

  boxes(row, x, middle) {
    const box = (fill, y, height) =>
      drawn("rect", { x: x - 13, y, width: 26, height, rx: 3, fill, stroke: ON_FILL, "stroke-width": 0.8 });
    if (row.kind === "image") return [box(FILL.tensor, middle - 8, 16)];
    if (row.kind === "failure")
      return [
        box(FILL.zero, middle - 9, 18),
        drawn("path", { class: "rw-net-cross", d: `M${x - 5} ${middle - 5}l10 10m0 -10l-10 10` }),
      ];
    if (row.open) return [];
    if (row.kind !== "layer") {
      // a closed part: its first layers as thin stripes
      const layers = this.net.operations
        .slice(row.from, row.to)
        .filter(({ kind }) => kind === "conv" || kind === "linear" || kind === "pool");
      const few = layers.slice(0, 4);
      const each = 20 / Math.max(1, few.length);
      return few.map((operation, nth) => box(FILL[fillOf(operation)], middle - 10 + nth * each, each - 1));
    }
    const operation = this.net.operations[row.from];
    if (operation.kind === "add" || operation.kind === "concat") {
      return [
        drawn("circle", { cx: x, cy: middle, r: 9, fill: FILL.add, stroke: ON_FILL }),
        drawn("path", { class: "rw-net-plus", d: `M${x - 5} ${middle}h10m-5 -5v10` }),
      ];
    }
    return [box(FILL[fillOf(operation)], middle - 8, 16)];
  }
}

function stroke(identity) {
  return { fill: "none", stroke: SHORTCUT, "stroke-width": 2, "stroke-dasharray": identity ? null : "5 3" };
}

function arcPiece(x, middle, part, identity) {
  const d = {
    begin: `M${LINE} ${middle}C${x} ${middle} ${x} ${middle + 4} ${x} ${ROW}`,
    through: `M${x} 0V${ROW}`,
    end: `M${x} 0C${x} ${middle - 4} ${x} ${middle} ${LINE - 10} ${middle}`,
  }[part];
  return drawn("path", { d, ...stroke(identity) });
}

function loop(x, middle, reach, identity) {
  return drawn("path", {
    d: `M${x} ${middle - 9}C${x - reach} ${middle - 9} ${x - reach} ${middle + 9} ${x} ${middle + 9}`,
    ...stroke(identity),
  });
}

export const STYLE_OF_LIST = `
.rw-net-list { position: relative; box-sizing: border-box; height: ${heightOf(15)}; overflow: auto; border: 1px solid var(--rw-line); border-radius: 4px; scrollbar-gutter: stable; }
.rw-net-space { position: relative; }
.rw-net-row { position: absolute; left: 0; right: 0; height: ${ROW}px; display: flex; align-items: center; gap: 0.5em; cursor: default; padding-right: 0.5em; }
.rw-net-group, .rw-net-block { cursor: pointer; }
.rw-net-group .rw-net-name { font-weight: 650; }
.rw-net-chosen { background: var(--rw-faint); box-shadow: inset 3px 0 var(--rw-accent); }
.rw-net-differs { outline: 2px dashed ${SHORTCUT}; outline-offset: -2px; }
.rw-net-wide .rw-net-scale { display: none; }
.rw-net-failure .rw-net-name { font-weight: 650; }
.rw-net-gutter { flex: none; }
.rw-net-name { flex: 1 1 auto; padding-left: calc(0.9em * var(--depth)); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; }
.rw-net-wide .rw-net-name { flex: 1 0 3em; padding-left: 0.8em; }
.rw-net-shape { flex: none; min-width: 8.2em; text-align: right; font-variant-numeric: tabular-nums; color: var(--rw-quiet); white-space: nowrap; }
.rw-net-scale { flex: none; width: 6em; display: flex; align-items: center; }
.rw-net-tensor { display: block; min-width: 1.5px; background: ${FILL.tensor}; border: 1px solid var(--rw-quiet); }
.rw-net-line { stroke: var(--rw-quiet); stroke-width: 1.6; fill: none; }
.rw-net-count { font-size: 11px; }
.rw-net-two .rw-net-count { display: none; }
.rw-net-plus, .rw-net-cross { stroke: ${ON_FILL}; stroke-width: 1.8; fill: none; }
@container rw (max-width: 53em) { .rw-net-scale { width: 3.5em; } }
@container rw (max-width: 47em) { .rw-net-scale { width: 6em; } }
@container rw (max-width: 33em) {
  .rw-net-list { font-size: 0.86em; }
  .rw-net-scale, .rw-net-to-scale { display: none; }
  .rw-net-gutter { margin-left: -18px; }
  .rw-net-count { display: none; }
  .rw-net-row { gap: 0.2em; padding-right: 0; }
  .rw-net-name { padding-left: calc(0.35em * var(--depth)); }
  .rw-net-shape { min-width: 0; padding-right: 0.4em; }
}
`;
