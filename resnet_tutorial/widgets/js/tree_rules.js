// How a list of operations is shown: as stages, blocks and layers, with arcs for the skip connections.

const WEIGHTED = new Set(["conv", "linear"]);
const BLOCK = /^(?:(.*?)\.)?(\d+)(?=\.|$)/; // "layer2.0.conv1": stage "layer2", block 0

function blockOf(operation) {
  const found = BLOCK.exec(operation.path);
  return found && { stage: found[1] ?? "", block: found[2] };
}

/** Return the names of the containers that hold blocks: some member has two layers with weights or more. */
function stagesIn(operations) {
  const layers = new Map();
  for (const operation of operations) {
    const place = WEIGHTED.has(operation.kind) && blockOf(operation);
    if (place) layers.set(`${place.stage} ${place.block}`, (layers.get(`${place.stage} ${place.block}`) ?? 0) + 1);
  }
  return new Set([...layers].filter(([, count]) => count > 1).map(([name]) => name.slice(0, name.lastIndexOf(" "))));
}

/**
 * Return the outline: groups {id, label, from, to, blocks}, each with its blocks {id, label, from, to}.
 *
 * from and to are numbers of operations, to the one after the last. What stands in no stage is stem, head or between.
 */
export function outline(operations) {
  const stages = stagesIn(operations);
  const groups = [];
  operations.forEach((operation, index) => {
    const place = blockOf(operation);
    const stage = place && stages.has(place.stage) ? place.stage : null;
    let group = groups[groups.length - 1];
    if (!group || group.stage !== stage) {
      group = { stage, from: index, blocks: [] };
      groups.push(group);
    }
    group.to = index + 1;
    if (stage === null) return;
    let block = group.blocks[group.blocks.length - 1];
    if (!block || block.label !== place.block) {
      block = { label: place.block, from: index };
      group.blocks.push(block);
    }
    block.to = index + 1;
  });
  const first = groups.findIndex((group) => group.stage !== null);
  const last = groups.length - 1 - [...groups].reverse().findIndex((group) => group.stage !== null);
  groups.forEach((group, number) => {
    const loose = first < 0 ? "layers" : number < first ? "stem" : number > last ? "head" : "between";
    group.label = group.stage === null ? loose : group.stage || "blocks";
    const before = groups.slice(0, number).filter(({ label }) => label === group.label).length;
    group.id = before ? `${group.label}~${before}` : group.label; // a container that runs twice has two groups
    for (const block of group.blocks) {
      block.id = `${group.id}.${block.label}`;
      block.label = group.stage ? `${group.stage}.${block.label}` : block.label;
    }
  });
  return groups;
}

/** Return the numbers of the values that a value depends on, itself among them. */
function ancestors(operations, value) {
  const found = new Set();
  const waiting = [value];
  while (waiting.length) {
    const here = waiting.pop();
    if (found.has(here)) continue;
    found.add(here);
    if (here > 0) waiting.push(...operations[here - 1].inputs);
  }
  return found;
}

/** Return the operations, and with them an addition that fails: its branches meet there all the same. */
export function withFailure({ operations, failure }) {
  if (failure?.name !== "add" || failure.inputs?.length !== 2) return operations;
  return [...operations, { index: operations.length, kind: "add", inputs: failure.inputs }];
}

/**
 * Return where branches meet: {index, fork, branch, shortcut}.
 *
 * fork is the value from which both come; branch and shortcut are lists of operations, the shortcut the shorter one.
 */
export function merges(operations) {
  const found = [];
  for (const { index, kind, inputs } of operations) {
    const ends = [...new Set(inputs)];
    if ((kind !== "add" && kind !== "concat") || ends.length < 2) continue;
    const [one, other] = ends.slice(0, 2).map((value) => ancestors(operations, value));
    const fork = Math.max(...[...one].filter((value) => other.has(value)));
    const between = (values) =>
      [...values]
        .filter((value) => value > fork)
        .map((value) => value - 1)
        .sort((a, b) => a - b);
    const ways = [between(one), between(other)];
    const [shortcut, branch] = ways[1].length <= ways[0].length ? [ways[1], ways[0]] : ways;
    found.push({ index, fork, branch, shortcut });
  }
  return found;
}

function sums(operations, from, to) {
  const total = { params: 0, macs: 0, bytes: 0 };
  for (let index = from; index < to; index += 1)
    for (const name of Object.keys(total)) total[name] += operations[index][name];
  return total;
}

/**
 * Return the rows to show: the image, then groups, blocks and layers as far as they are open.
 *
 * isOpen(id, depth) says whether a group or a block is open that is so many levels above its layers.
 */
export function rowsOf(operations, isOpen) {
  const groups = outline(operations);
  const rows = [{ id: "image", kind: "image", level: 1, from: -1, to: 0 }];
  const layers = (from, to, level) => {
    for (let index = from; index < to; index += 1)
      rows.push({ id: `op${index}`, kind: "layer", level, from: index, to: index + 1 });
  };
  for (const group of groups) {
    if (groups.length === 1 && !group.blocks.length) {
      layers(group.from, group.to, 1);
      continue;
    }
    const open = isOpen(group.id, group.blocks.length ? 2 : 1);
    rows.push({ ...group, kind: "group", level: 1, expandable: true, open, ...sums(operations, group.from, group.to) });
    if (!open) continue;
    if (!group.blocks.length) layers(group.from, group.to, 2);
    for (const block of group.blocks) {
      const wide = isOpen(block.id, 1);
      rows.push({
        ...block,
        kind: "block",
        level: 2,
        expandable: true,
        open: wide,
        ...sums(operations, block.from, block.to),
      });
      if (wide) layers(block.from, block.to, 3);
    }
  }
  return rows;
}

/** Return for each operation the row that shows it: its own, or the closed one that it is in. Index 0 is the image. */
function rowOfOperation(rows, count) {
  const place = new Array(count + 1).fill(0);
  rows.forEach((row, number) => {
    if (row.open) return; // its parts have rows of their own
    for (let index = row.from; index < row.to; index += 1) place[index + 1] = number;
  });
  return place;
}

/**
 * Return what is drawn beside each row: {loops, lanes, side}.
 *
 * loops: skip connections inside a closed row, each true when it is the identity. lanes: pieces of arcs that pass, as
 * {lane, part, identity} with part "begin", "through" or "end". side: the lane in which the row's own box stands, 0 for
 * the main line.
 */
export function arcsOf(rows, operations, joined) {
  const place = rowOfOperation(rows, operations.length);
  const beside = rows.map(() => ({ loops: [], lanes: [], side: 0 }));
  const busy = []; // the row at which each lane becomes free
  for (const { index, fork, shortcut } of joined) {
    const [begin, end] = [place[fork], place[index + 1]];
    const identity = shortcut.length === 0;
    if (begin === end || !["layer", "failure"].includes(rows[end].kind)) {
      beside[end].loops.push(identity);
      continue;
    }
    let lane = busy.findIndex((free) => free <= begin);
    if (lane < 0) lane = busy.length;
    busy[lane] = end;
    const put = (row, part) => beside[row].lanes.push({ lane: lane + 1, part, identity });
    put(begin, "begin");
    for (let row = begin + 1; row < end; row += 1) put(row, "through");
    put(end, "end");
    for (const operation of shortcut) beside[place[operation + 1]].side = lane + 1;
  }
  return beside;
}

/** Return the first operation in which two networks differ, or null: its number in both. */
export function firstDifference(one, other) {
  const most = Math.max(one.length, other.length);
  for (let index = 0; index < most; index += 1) {
    const [a, b] = [one[index], other[index]];
    if (!a || !b || signature(a) !== signature(b)) return index;
  }
  return null;
}

function signature({ name, inputs, shape, params, settings }) {
  return JSON.stringify([name, inputs, shape, params, settings]);
}
