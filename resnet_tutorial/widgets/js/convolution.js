// The convolution explorer: a window that moves over a grid, the formula with its numbers, and groups.

import {
  FILL,
  LINES,
  ON_FILL,
  bar,
  button,
  calm,
  change,
  choice,
  drawn,
  element,
  grouped,
  mount,
  pointed,
  slider,
} from "./kit.js";
import { alongOneAxis, bundle, commonDivisors, cost, reads, taps } from "./convolution_rules.js";

const SIDE = 272; // of the padded image, so that nothing on the page moves while a slider does
const CHANNELS = Array.from({ length: 16 }, (_, n) => n + 1);
const STEP = 450; // milliseconds between two positions of the moving window
const LIMITS = { size: [1, 14], kernel: [1, 7], stride: [1, 5], padding: [0, 4], dilation: [1, 4] };
const NAME_OF_WALK = calm() ? "Next position" : "Move the window";
const NAMES = [...Object.keys(LIMITS), "row", "column", "in_channels", "out_channels", "groups"];

function render({ model, el }) {
  const set = (values) => change(model, settled({ ...state(model), ...values }));
  const settings = [
    ["size", "Image, pixels a side"],
    ["kernel", "Kernel"],
    ["stride", "Stride"],
    ["padding", "Padding"],
    ["dilation", "Dilation"],
  ].map(([name, label]) => {
    const [least, most] = LIMITS[name];
    return [name, slider({ label, least, most, changed: (value) => set({ [name]: value }) })];
  });
  const places = [
    ["row", "Output row"],
    ["column", "Output column"],
  ].map(([name, label]) => [name, slider({ label, least: 0, most: 1, changed: (value) => set({ [name]: value }) })]);
  const channels = [
    ["in_channels", "Input channels"],
    ["out_channels", "Output channels"],
  ].map(([name, label]) => [
    name,
    choice({ label, options: CHANNELS.map((n) => [n]), changed: (value) => set({ [name]: Number(value) }) }),
  ]);
  const groups = choice({ label: "Groups", options: [[1]], changed: (value) => set({ groups: Number(value) }) });
  const walk = walker(model, set);
  const view = {
    input: element("div", { class: "rw-conv-grid" }),
    output: element("div", { class: "rw-conv-grid" }),
    formula: element("p", { class: "rw-conv-formula" }),
    note: element("p", { class: "rw-conv-note" }),
    links: element("div"),
    cost: element("p", { class: "rw-conv-cost" }),
  };

  function draw(say) {
    const now = settled(state(model));
    const axis = alongOneAxis(now);
    for (const [name, control] of [...settings, ...channels]) control.show(now[name]);
    for (const [name, control] of places) {
      control.limit(1, Math.max(1, axis.out));
      control.show(axis.out ? now[name] : 1);
    }
    walk.allow(axis.out);
    groups.offer(commonDivisors(now.in_channels, now.out_channels).map((n) => [n]));
    groups.show(now.groups);
    view.input.replaceChildren(inputGrid(now, axis));
    view.output.replaceChildren(outputGrid(now, axis, set));
    view.formula.replaceChildren(...formula(now, axis));
    view.note.textContent = note(now, axis);
    view.links.replaceChildren(links(now));
    view.cost.textContent = costs(now, axis);
    const where = `Output ${now.row}, ${now.column} of ${axis.out} by ${axis.out}.`;
    say(`${axis.out ? where : "The kernel does not fit."} ${note(now, axis)}`);
  }

  const away = mount({
    model,
    el,
    title: "Convolution explorer",
    draw,
    parts: [
      element("style", {}, STYLE_OF_CONVOLUTION),
      bar("Settings of the convolution", ...settings.map(([, control]) => control.node)),
      element(
        "div",
        { class: "rw-conv-grids" },
        view.input,
        element("span", { class: "rw-conv-arrow", "aria-hidden": "true" }, "→"),
        view.output,
      ),
      bar("Position of the window", ...places.map(([, control]) => control.node), walk.node),
      view.formula,
      view.note,
      element("hr"),
      bar("Channels", ...channels.map(([, control]) => control.node), groups.node),
      view.links,
      view.cost,
    ],
  });
  return () => {
    walk.stop();
    away();
  };
}

function state(model) {
  return Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
}

function within(value, least, most) {
  return Math.min(Math.max(least, Math.round(value)), most);
}

/** Return the state with values that are allowed, positions that exist, and groups that divide the channels. */
function settled(values) {
  const now = { ...values };
  for (const [name, [least, most]] of Object.entries(LIMITS)) now[name] = within(now[name], least, most);
  const last = Math.max(1, alongOneAxis(now).out);
  for (const name of ["row", "column"]) now[name] = within(now[name], 1, last);
  for (const name of ["in_channels", "out_channels"]) now[name] = within(now[name], 1, 16);
  const possible = commonDivisors(now.in_channels, now.out_channels).filter((n) => n <= now.groups);
  now.groups = possible[possible.length - 1] ?? 1;
  return now;
}

/** Return a button that lets the window walk over all positions. */
function walker(model, set) {
  let timer = 0;
  function stop() {
    clearInterval(timer);
    timer = 0;
    control.name(NAME_OF_WALK);
  }
  function step() {
    const now = settled(state(model));
    const { out } = alongOneAxis(now);
    if (now.row >= out && now.column >= out) stop();
    else if (now.column < out) set({ column: now.column + 1 });
    else set({ row: now.row + 1, column: 1 });
  }
  const control = button({
    label: NAME_OF_WALK,
    pressed() {
      if (timer) {
        stop();
        return;
      }
      const now = settled(state(model));
      const { out } = alongOneAxis(now);
      if (now.row >= out && now.column >= out) set({ row: 1, column: 1 });
      else if (calm()) step();
      if (calm()) return; // one position for each press
      timer = setInterval(step, STEP);
      control.name("Stop");
    },
  });
  return {
    node: control.node,
    stop,
    allow(out) {
      control.node.disabled = out < 2; // no output, or a single position
    },
  };
}

// --- grids ---

function canvas(width, height, label, ...children) {
  return drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
    ...children,
  );
}

/** Return how large a pixel is drawn: image and output to the same scale. */
function cellSide({ padded, out }) {
  return Math.min(34, SIDE / Math.max(padded, out));
}

function cross(left, top, cell) {
  const [from, arm] = [0.3 * cell, 0.4 * cell];
  return `M${left + from} ${top + from}l${arm} ${arm}m0 ${-arm}l${-arm} ${arm}`;
}

function inputGrid(now, axis) {
  const cell = cellSide(axis);
  const read = reads(now);
  const rows = axis.out ? taps(now, now.row - 1) : [];
  const columns = axis.out ? taps(now, now.column - 1) : [];
  const side = axis.padded * cell;
  const cells = [];
  for (let y = -now.padding; y < now.size + now.padding; y += 1) {
    for (let x = -now.padding; x < now.size + now.padding; x += 1) {
      const outside = Math.min(x, y) < 0 || Math.max(x, y) >= now.size;
      const tapped = rows.includes(y) && columns.includes(x);
      const unread = !outside && !(read[y] && read[x]);
      const kind = tapped ? "tap" : outside ? "pad" : unread ? "unread" : "pixel";
      const [left, top] = [(x + now.padding) * cell, (y + now.padding) * cell];
      cells.push(
        drawn("rect", { class: `rw-conv-${kind}`, x: left + 1, y: top + 1, width: cell - 2, height: cell - 2, rx: 2 }),
      );
      if (unread && !tapped) {
        cells.push(drawn("path", { class: "rw-conv-cross", d: cross(left, top, cell) }));
      }
    }
  }
  if (axis.out) {
    const [left, top] = [(columns[0] + now.padding) * cell, (rows[0] + now.padding) * cell];
    const width = axis.span * cell;
    cells.push(drawn("rect", { class: "rw-conv-window", x: left, y: top, width, height: width, rx: 3 }));
  }
  const what = `input, ${now.size} × ${now.size}${now.padding ? ` and ${now.padding} of padding on each side` : ""}`;
  return element("figure", {}, canvas(side, side, `The ${what}.${windowInWords(rows, columns)}`, ...cells), element("figcaption", {}, what));
}

/** Return which pixels the window reads, counted from 1; those of the padding are below 1 or beyond the image. */
function windowInWords(rows, columns) {
  const ends = (taps) => `${taps[0] + 1} to ${taps[taps.length - 1] + 1}`;
  return rows.length ? ` The window is on rows ${ends(rows)}, columns ${ends(columns)}.` : "";
}

function outputGrid(now, axis, set) {
  const cell = cellSide(axis);
  const side = Math.max(1, axis.out) * cell;
  const cells = [];
  for (let row = 1; row <= axis.out; row += 1) {
    for (let column = 1; column <= axis.out; column += 1) {
      const here = row === now.row && column === now.column;
      cells.push(
        drawn("rect", {
          class: here ? "rw-conv-here" : "rw-conv-out",
          x: (column - 1) * cell + 1,
          y: (row - 1) * cell + 1,
          width: cell - 2,
          height: cell - 2,
          rx: 2,
          onpointermove: pointed(() => set({ row, column })),
          onclick: () => set({ row, column }),
        }),
      );
    }
  }
  const what = axis.out ? `output, ${axis.out} × ${axis.out}` : "no output: the kernel does not fit";
  return element("figure", {}, canvas(side, side, `The ${what}.`, ...cells), element("figcaption", {}, what));
}

// --- sentences ---

function formula(now, axis) {
  const { size, kernel, stride, padding, dilation } = now;
  const over = `${size} + 2 · ${padding} − ${dilation} · (${kernel} − 1) − 1`;
  const lines = [element("span", {}, `⌊(${over}) / ${stride}⌋ + 1`)];
  if (axis.out)
    lines.push(
      element("span", {}, ` = ⌊${axis.room} / ${stride}⌋ + 1 = ⌊${trimmed(axis.room / stride)}⌋ + 1 = `),
      element("b", {}, axis.out),
    );
  else lines.push(element("span", {}, `; the kernel is longer than the ${now.padding ? "padded row" : "row"}.`));
  return lines;
}

function trimmed(number) {
  return String(Math.round(number * 100) / 100);
}

function note(now, axis) {
  const padded = now.padding ? "padded row" : "row";
  if (!axis.out) return `The kernel spans ${axis.span} positions, and the ${padded} has ${axis.padded}.`;
  const sentences = [];
  if (now.stride > axis.span) sentences.push("The stride is longer than the kernel: the window steps over pixels.");
  if (axis.left) {
    sentences.push(
      `The floor drops the last ${axis.left === 1 ? "position" : `${axis.left} positions`} of the ${padded}: no window reaches ${axis.left === 1 ? "it" : "them"}.`,
    );
  }
  const read = reads(now).filter(Boolean).length;
  const lost = now.size ** 2 - read ** 2;
  sentences.push(
    lost
      ? `${lost} of the ${now.size ** 2} pixels are read by no output.`
      : now.size === 1
        ? "The one pixel is read."
        : `Each of the ${now.size ** 2} pixels is read.`,
  );
  if (axis.out === now.size) sentences.push("The size is kept.");
  return sentences.join(" ");
}

function costs(now, axis) {
  const each = now.in_channels / now.groups;
  const { params, macs } = cost({ ...now, inChannels: now.in_channels, outChannels: now.out_channels }, axis.out);
  return (
    `Weights: (${now.out_channels}, ${each}, ${now.kernel}, ${now.kernel}), which are ${grouped(params)} numbers. ` +
    (axis.out
      ? `Multiply-accumulates: ${grouped(params)} at each of ${axis.out} × ${axis.out} positions, ${grouped(macs)} together.`
      : "There is no output to multiply for.")
  );
}

// --- channels ---

function links(now) {
  const wide = 30 * Math.max(now.in_channels, now.out_channels, 4);
  const place = (count, index) => (wide * (index + 0.5)) / count;
  const parts = [];
  for (let o = 0; o < now.out_channels; o += 1) {
    const [from, to] = bundle({ inChannels: now.in_channels, outChannels: now.out_channels, groups: now.groups }, o);
    const colour = LINES[Math.floor(from / (now.in_channels / now.groups)) % LINES.length];
    for (let i = from; i < to; i += 1) {
      parts.push(
        drawn("line", {
          x1: place(now.in_channels, i),
          y1: 22,
          x2: place(now.out_channels, o),
          y2: 88,
          stroke: colour,
        }),
      );
    }
  }
  const dots = (count, y) =>
    Array.from({ length: count }, (_, n) => drawn("circle", { cx: place(count, n), cy: y, r: 7 }));
  const each = now.in_channels / now.groups;
  const label = `${now.in_channels} input channels above, ${now.out_channels} output channels below; each output reads ${each} of the inputs.`;
  return element(
    "figure",
    { class: "rw-conv-links" },
    canvas(wide, 110, label, ...parts, ...dots(now.in_channels, 16), ...dots(now.out_channels, 94)),
    element("figcaption", {}, label),
  );
}

const STYLE_OF_CONVOLUTION = `
.rw-conv-grids { display: flex; flex-wrap: wrap; gap: 0.6em 1.2em; align-items: center; justify-content: center; margin: 0 0 0.9em; }
.rw-conv-grid { max-width: 100%; width: ${SIDE}px; min-height: ${SIDE + 46}px; display: grid; place-content: center; }
.rw-conv-arrow { font-size: 1.4em; color: var(--rw-quiet); }
.rw-conv-pixel { fill: ${FILL.tensor}; }
.rw-conv-pad { fill: none; stroke: var(--rw-quiet); stroke-dasharray: 3 2; }
.rw-conv-tap { fill: ${FILL.conv3x3}; stroke: ${ON_FILL}; }
.rw-conv-unread { fill: ${FILL.zero}; }
.rw-conv-cross { stroke: ${ON_FILL}; fill: none; stroke-width: 1.4; }
.rw-conv-window { fill: none; stroke: var(--rw-ink); stroke-width: 2; }
.rw-conv-out { fill: ${FILL.tensor}; cursor: pointer; }
.rw-conv-here { fill: ${FILL.conv3x3}; stroke: var(--rw-ink); stroke-width: 2; }
.rw-conv-grid figcaption { min-height: 2.8em; }
.rw p.rw-conv-note, .rw p.rw-conv-cost { min-height: 2.9em; }
@container rw (max-width: 33em) {
  .rw p.rw-conv-note { min-height: 7.3em; }
  .rw p.rw-conv-cost { min-height: 4.4em; }
  .rw p.rw-conv-formula { min-height: 3em; }
  .rw-conv-arrow { transform: rotate(90deg); }
  .rw-conv-grids { gap: 0; }
  .rw-conv-grid:last-child { min-height: 0; align-content: start; }
}
.rw-conv-formula { font-variant-numeric: tabular-nums; font-size: 1.05em; }
.rw-conv-links line { stroke-width: 1.5; }
.rw-conv-links circle { fill: ${FILL.tensor}; stroke: ${ON_FILL}; }
.rw-conv-links svg { margin-inline: auto; }
.rw hr { border: 0; border-top: 1px solid var(--rw-line); margin: 1em 0; }
`;

export default { render };
