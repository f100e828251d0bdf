// Where everything stands in the drawing of a ResNeXt block: numbers only, so that one form can turn into another.

import { sizes } from "./resnext_rules.js";

export const HEIGHT = 384;
const BOX = 38; // height of a path's box, with its two lines of text
const BAR = 28; // of a box that stands for all paths
const [INPUT, ADDITION, OUTPUT] = [12, 322, 372];
const SHORTCUT_ROOM = 42; // on the right
const SLOT = 65; // least room for a path
const GAP = 52; // room for the paths that are not drawn
const ROWS = {
  a: { reduce: 84, transform: 150, concatenate: 183, expand: 216, sum: 272 },
  b: { reduce: 84, transform: 150, concatenate: 207, expand: 262, sum: ADDITION },
  c: { reduce: 84, transform: 163, concatenate: 207, expand: 255, sum: ADDITION },
};

/** Return how many of the first paths are drawn before the last one: all of them if there is room, at most 8. */
export function drawnPaths(cardinality, width) {
  const room = width - SHORTCUT_ROOM;
  if (cardinality <= 8 && cardinality * SLOT <= room) return cardinality - 1;
  return Math.min(5, Math.max(1, Math.floor((room - GAP) / SLOT) - 1));
}

/** Return each place in a row, apart (`x`, `wide`) and moved together (`cell`, `cellWide`); one may be the gap. */
function places(cardinality, width) {
  const room = width - SHORTCUT_ROOM;
  const first = drawnPaths(cardinality, width);
  const gap = first + 1 < cardinality;
  const wide = Math.min(92, (room - (gap ? GAP : 0)) / (first + 1));
  const kinds = [...new Array(first).fill("path"), ...(gap ? ["gap"] : []), "path"];
  const middle = room / 2;
  const together = Math.min(room, Math.max(190, 64 * kinds.length));
  const cellWide = together / kinds.length;
  const all = (first + 1) * wide + (gap ? GAP : 0);
  let left = middle - all / 2;
  const slots = kinds.map((kind, index) => {
    const mine = kind === "gap" ? GAP : wide;
    const x = left + mine / 2;
    left += mine;
    const cell = middle - together / 2 + (index + 0.5) * cellWide;
    return { kind, index, x, wide: mine - 6, cell, cellWide: cellWide - 3 };
  });
  return { middle, together: together - 3, all: all - 6, slots, right: width - 10 };
}

const line = (x1, y1, x2, y2, o = 1) => ({ shape: "line", x1, y1, x2, y2, o });
const note = (x, y, text, o = 1, anchor = "start") => ({ shape: "text", x, y, text, o, anchor });

/** Return a box around (x, y); its first line of text is the layer, the second its channels in and out. */
function box(kind, x, y, wide, high, texts, o = 1) {
  return { shape: "box", kind, x: x - wide / 2, y: y - high / 2, wide, high, texts, o };
}

/** Return the shapes of the block, always as many and in the same order for each form of one block. */
export function scene(now, width) {
  const place = places(now.cardinality, width);
  const form = now.cardinality === 1 ? "c" : now.form; // one path has nothing to merge: its forms are one
  const merged = { reduce: form === "c", expand: form !== "a" };
  const view = { ...now, ...sizes(now), form, place, rows: ROWS[form], merged };
  return [
    ...place.slots.flatMap((slot) => (slot.kind === "gap" ? [] : pathLines(view, slot))),
    ...commonLines(view),
    ...place.slots.flatMap((slot) => pathBoxes(view, slot)),
    ...commonBoxes(view),
    ...notes(view),
  ];
}

/** Return a path's lines; where paths have become one, only the first one's line is left to be seen. */
function pathLines({ form, merged, rows, place: { middle } }, { index, x }) {
  const half = { reduce: (merged.reduce ? BAR : BOX) / 2, expand: (merged.expand ? BAR : BOX) / 2 };
  const inner = form === "c" ? middle : x;
  const outer = merged.expand ? middle : x;
  const end = form === "b" ? rows.concatenate - BAR / 2 : rows.expand - half.expand;
  const seen = (together) => Number(!together || index === 0);
  return [
    line(middle, INPUT + 12, merged.reduce ? middle : x, rows.reduce - half.reduce, seen(merged.reduce)),
    line(inner, rows.reduce + half.reduce, inner, rows.transform - BOX / 2, seen(form === "c")),
    line(inner, rows.transform + BOX / 2, inner, end, seen(form === "c")),
    line(outer, rows.expand + half.expand, middle, rows.sum - 11, seen(merged.expand)),
  ];
}

function commonLines({ form, rows, place: { middle, right } }) {
  return [
    line(middle, rows.concatenate + BAR / 2, middle, rows.expand - BAR / 2, Number(form === "b")),
    line(middle, rows.sum, middle, ADDITION - 11),
    line(middle, ADDITION + 11, middle, OUTPUT - 15),
    { shape: "tip", x: middle, y: OUTPUT - 10, turn: 90, kind: "line", o: 1 },
    { shape: "shortcut", from: [middle + 76, INPUT], to: [middle + 17, ADDITION], right, o: 1 },
    { shape: "tip", x: middle + 12, y: ADDITION, turn: 180, kind: "shortcut", o: 1 },
  ];
}

function pathBoxes({ form, channels, group, merged, rows }, slot) {
  const gap = slot.kind === "gap";
  const texts = (kernel, from, to) => (gap ? ["⋯"] : [kernel, `${from}→${to}`]);
  const row = (kind, y, moved, texts, o) => ({
    ...box(kind, moved ? slot.cell : slot.x, y, moved ? slot.cellWide : slot.wide, BOX, texts, o),
    hollow: gap && !moved ? 1 : 0,
  });
  return [
    row("conv1x1", rows.reduce, merged.reduce, texts("1×1", channels, group), Number(!merged.reduce)),
    row("conv3x3", rows.transform, form === "c", texts("3×3", group, group), 1),
    row("conv1x1", rows.expand, merged.expand, texts("1×1", group, channels), Number(!merged.expand)),
  ];
}

function commonBoxes({ cardinality, form, channels, group, middle: wide, merged, rows, place }) {
  const { middle, together, all } = place;
  const joined = `concatenate: ${cardinality} × ${group} = ${wide}`;
  return [
    box("conv1x1", middle, rows.reduce, together, BAR, [`1×1, ${channels} → ${wide}`], Number(merged.reduce)),
    box("conv1x1", middle, rows.expand, together, BAR, [`1×1, ${wide} → ${channels}`], Number(merged.expand)),
    box("other", middle, rows.concatenate, Math.max(all, 190), BAR, [joined], Number(form === "b")),
    { shape: "plus", x: middle, y: rows.sum, o: Number(form === "a") },
    { shape: "plus", x: middle, y: ADDITION, o: 1 },
  ];
}

function notes({ cardinality, form, channels, group, side, middle: wide, rows, place }) {
  const { middle, slots, right } = place;
  const below = rows.transform + BOX / 2;
  const grouping = cardinality === 1 ? "1 group" : `${cardinality} groups of ${group}`;
  const [apart, together] = [Number(form !== "c"), Number(form === "c")];
  const whole = `${channels} × ${side} × ${side}`;
  const gap = slots.find(({ kind }) => kind === "gap");
  return [
    note(middle, INPUT, `input, ${whole}`, 1, "middle"),
    note(middle, OUTPUT, `output, ${whole}`, 1, "middle"),
    note(middle + 18, rows.sum, `sum of the ${cardinality} paths`, Number(form === "a")),
    note(middle + 8, below + 13, `${wide} → ${wide},`, together),
    note(middle + 8, below + 28, grouping, together),
    ...(gap ? [note(gap.x, (rows.reduce + rows.transform) / 2, `${cardinality} paths`, apart, "middle")] : []),
    { ...note(right - 13, (INPUT + ADDITION) / 2, "shortcut", 1, "middle"), upright: true },
  ];
}

/**
 * Return what stands between two scenes of one block: `part` 0 is the first, 1 the second.
 *
 * What is no longer needed goes first; boxes and lines that become one stay until they have met.
 */
export function between(first, second, part) {
  const [soon, late] = [Math.min(part / 0.4, 1), Math.max((part - 0.6) / 0.4, 0)];
  return second.map((shape, index) => {
    const old = first[index];
    const mixed = { ...shape };
    for (const [name, value] of Object.entries(shape)) {
      const stays = shape.shape === "line" || shape.kind === "conv1x1" || value > old[name];
      const way = name !== "o" ? part : stays ? late : soon;
      if (typeof value === "number") mixed[name] = old[name] + (value - old[name]) * way;
    }
    return mixed;
  });
}
