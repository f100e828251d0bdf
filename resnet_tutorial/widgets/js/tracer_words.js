// What the shape tracer says: names of layers, formulas with their numbers, why a network fails. No drawing.

import { grouped } from "./kit.js";

const NAMES = {
  batch_norm: "batch norm",
  relu: "ReLU",
  max_pool2d: "max-pooling",
  adaptive_avg_pool2d: "average pooling",
  avg_pool2d: "average pooling",
  mean: "mean over the map",
  flatten: "flatten",
  linear: "linear",
  pad: "channels of zeros",
  add: "addition",
};

export function times(shape) {
  return shape.join(" × ");
}

/** Return an operation's name with the settings that one wants to see, as papers do: "3×3 conv, /2, 32 groups". */
export function labelOf({ name, kind, settings, label }) {
  if (kind === "conv" && settings.kernel) {
    const { kernel, stride, padding, groups } = settings;
    const more = [
      stride > 1 && `/${stride}`,
      groups > 1 && `${groups} groups`,
      kernel > 1 && padding === 0 && "no padding",
    ];
    return [`${kernel}×${kernel} conv`, ...more.filter(Boolean)].join(", ");
  }
  if (name === "avg_pool2d" && settings.kernel === 1) return settings.stride > 1 ? "every second pixel" : "every pixel";
  if (name === "max_pool2d" && !label) return "3×3 max-pool, /2";
  return NAMES[name] && !label?.includes(" ") ? NAMES[name] : (label ?? name);
}

/** Return a number of bytes in the unit that suits it. */
export function memory(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const [unit, size] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${digits(bytes / size)} ${unit}`;
}

/** Return a number with three digits, and more only where they stand before the point. */
function digits(number) {
  return number < 999.5 ? number.toPrecision(3) : grouped(Math.round(number));
}

/** Return multiply-accumulates in the unit that suits them. */
export function arithmetic(macs) {
  return macs < 1e6 ? grouped(macs) : macs < 1e9 ? `${digits(macs / 1e6)} million` : `${digits(macs / 1e9)} billion`;
}

function seen(field) {
  if (field === "all") return "all of the image";
  if (!field) return "not known";
  const pixels = (count) => `${count} pixel${count > 1 ? "s" : ""}`;
  return `${pixels(field.size)} a side, ${pixels(field.jump)} from one output to the next`;
}

/** Return what there is to know of an operation, as pairs of a name and a text. */
export function factsOf(operation, values, merge) {
  const { kind, settings, shapes, shape, params, macs, bytes, field, source } = operation;
  const facts = [
    ["in", operation.inputs.map((value) => times(values[value].shape)).join("  and  ")],
    ["out", times(shape)],
  ];
  if (kind === "conv" && settings.kernel) {
    const { kernel, stride, padding, groups } = settings;
    const [channels, side] = shapes[0];
    const exact = (side + 2 * padding - kernel) / stride;
    facts.push([
      "side",
      `⌊(${side} + 2 · ${padding} − ${kernel}) / ${stride}⌋ + 1 = ⌊${Math.round(100 * exact) / 100}⌋ + 1 = ${shape[1]}`,
    ]);
    facts.push([
      "parameters",
      `${shape[0]} · ${groups > 1 ? `(${channels} / ${groups})` : channels} · ${kernel} · ${kernel} = ${grouped(params)}`,
    ]);
    facts.push(["multiply-accumulates", `${grouped(params)} · ${shape[1]} · ${shape[2]} = ${grouped(macs)}`]);
  } else if (kind === "linear" && settings.features) {
    facts.push(["parameters", `${settings.features} · ${settings.classes} + ${settings.classes} = ${grouped(params)}`]);
    facts.push(["multiply-accumulates", `${grouped(macs)}, a bias counted as one more weight`]);
  } else {
    if (params) facts.push(["parameters", kind === "norm" ? `2 · ${shape[0]} = ${grouped(params)}` : grouped(params)]);
    if (macs) facts.push(["multiply-accumulates", grouped(macs)]);
  }
  if (merge) {
    const ends = (ways) => values[ways.length ? ways[ways.length - 1] + 1 : merge.fork];
    const [branch, shortcut] = [ends(merge.branch), ends(merge.shortcut)];
    facts.push(["branch", `${times(branch.shape)}; it sees ${seen(branch.field)}`]);
    facts.push([
      merge.shortcut.length ? "shortcut" : "shortcut, the identity",
      `${times(shortcut.shape)}; it sees ${seen(shortcut.field)}`,
    ]);
  } else facts.push(["receptive field", seen(field)]);
  facts.push(["memory", bytes ? memory(bytes) : "none of its own"]);
  if (source) facts.push(["source", source]);
  return facts;
}

/** Return the same of a group or a block: its sums. */
export function factsOfPart(row, values) {
  return [
    ["in", times(values[row.entry].shape)],
    ["out", times(values[row.to].shape)],
    ["parameters", grouped(row.params)],
    ["multiply-accumulates", grouped(row.macs)],
    ["memory", memory(row.bytes)],
  ];
}

const REMEDY = {
  "no-projection":
    "The shortcut hands x on as it is. Where a block changes the shape it needs a projection: a 1 × 1 " +
    "convolution with the block's stride and its output's channels, and a batch norm.",
  "projection-stride": "The branch halves the map and the shortcut does not. Both carry the block's stride.",
  "no-padding":
    "Without padding a 3 × 3 cannot stand at the edge, and its output is smaller. With padding=1 a map keeps its " +
    "size at stride 1, and is halved, rounded up, at stride 2.",
  classifier:
    "The linear layer was made for another number of channels. It takes as many as the last stage gives: the planes " +
    "times the block's expansion.",
};

/** Return a warning for a network that runs although shapes differ: torch spreads an axis of one. */
export function warningOf({ operations }) {
  const spread = operations.find((operation) => operation.spread);
  if (!spread) return "";
  const [branch, shortcut] = spread.shapes.map(times);
  return (
    `Nothing fails, and it is wrong all the same: in ${spread.path} the branch, ${branch}, and the shortcut, ${shortcut}, ` +
    "are added, and PyTorch spreads the smaller one without a word."
  );
}

/** Return why a network ends early: a sentence with the shapes, and what mends it. */
export function reasonOf(failure, fault) {
  if (failure.message) return [failure.message, [failure.cause, failure.fix].filter(Boolean).join(" ")];
  if (failure.name === "add") {
    const [branch, shortcut] = failure.shapes;
    const parts = [];
    if (branch[0] !== shortcut[0]) parts.push(`the channels, ${branch[0]} and ${shortcut[0]},`);
    if (branch[1] !== shortcut[1]) parts.push(`the sides, ${branch[1]} and ${shortcut[1]},`);
    const both = parts.length === 2;
    return [
      `The branch is ${times(branch)}, the shortcut ${times(shortcut)}: ${parts.join(" and ")} ${both ? "all " : ""}differ.`,
      REMEDY[fault] ?? "",
    ];
  }
  if (failure.cause === "features") {
    return [
      `The linear layer takes ${failure.features} numbers, and ${failure.shapes[0][0]} arrive.`,
      REMEDY.classifier,
    ];
  }
  return [
    `A map of ${times(failure.shapes[0])} is smaller than the ${failure.kernel} × ${failure.kernel} kernel.`,
    "Take a larger image.",
  ];
}

/** Return the network's usual name: "ResNeXt-50 (32×4d), CIFAR stem". */
export function titleOf({ network, stem, version, groups, baseWidth, depth, shortcut }) {
  if (network === "cifar_plain") return `plain-${depth}`;
  if (network.startsWith("cifar"))
    return `${network === "cifar_resnet" ? "ResNet" : "pre-activation ResNet"}-${depth} for small images, option ${shortcut}`;
  const number = network.slice("resnet".length);
  const bottlenecks = Number(number) >= 50;
  const more = [];
  let name = `ResNet-${number}`;
  if (bottlenecks && groups > 1) name = `ResNeXt-${number} (${groups}×${baseWidth}d)`;
  else if (bottlenecks && baseWidth !== 64)
    name = `${baseWidth > 64 ? "wide" : "narrow"} ResNet-${number} (width ${baseWidth})`;
  if (bottlenecks) more.push(version);
  if (stem === "cifar") more.push("stem for small images");
  return [name, ...more].join(", ");
}

// --- rows and sums ---

/** Return what a row says: its name, its shape, and the whole for those who do not see it; "?" beyond `known`. */
export function rowInWords(row, { net, joined }, known) {
  if (row.kind === "image") {
    const shape = times(net.values[0].shape);
    return { name: net.input ?? "image", shape, full: `The ${net.input ?? "image"}, ${shape}` };
  }
  if (row.kind === "failure")
    return failureInWords(net.failure);
  const ends = net.failure && row.kind !== "layer" && row.to === net.operations.length;
  const shape = ends ? "fails" : row.to <= known ? times(net.values[row.to].shape) : "?";
  return row.kind === "layer" ? layerInWords(row, net, joined, shape) : partInWords(row, joined, shape);
}

/** Both shapes stand beside an addition that fails, too. */
function failureInWords({ name, shapes = [] }) {
  const meet = name === "add" && shapes.length === 2;
  const shape = meet ? shapes.map(times).join(" + ").replaceAll(" × ", "×") : "";
  return { name: meet ? "fails" : `${name} fails`, shape, full: `${name} fails here`, wide: meet };
}

function partInWords(row, joined, shape) {
  const inside = joined.filter(({ index }) => index >= row.from && index < row.to);
  const others = inside.filter(({ shortcut }) => shortcut.length).length;
  const skips = inside.length === 1 ? "1 skip connection" : `${inside.length} skip connections`;
  const whole = row.kind === "group" && row.blocks.length && shape !== "fails";
  const name = whole ? `${row.label} × ${row.blocks.length}` : row.label;
  return {
    name,
    shape,
    full: `${name}: ${shape}${inside.length ? `, ${skips}, ${kindOfSkips(inside.length, others)}` : ""}`,
  };
}

function kindOfSkips(count, others) {
  if (others === 0) return count === 1 ? "the identity" : "all the identity";
  const own = `with layers of ${others === 1 ? "its" : "their"} own`;
  return others === count ? own : `${others} ${own}`;
}

function layerInWords(row, net, joined, shape) {
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
  const other = shortcut.length ? "shortcut" : "identity";
  const full = `addition of the branch, ${end(branch)}, and the ${other}, ${end(shortcut)}, gives ${shape}`;
  return { name: "add", shape: `${end(branch)} + ${end(shortcut)}`.replaceAll(" × ", "×"), full, wide: true };
}

/** Return a network's sums in a sentence. */
export function sumsInWords({ net, sums }) {
  const parts = [
    `${sums.operations} operations`,
    `${grouped(sums.params)} parameters`,
    `${arithmetic(sums.macs)} multiply-accumulates`,
    `${memory(sums.bytes)} of results`,
  ];
  return `${parts.join(", ")}${net.failure ? ", up to where it fails" : ""}.`;
}

/** Return in which operation two networks first differ, in a sentence. */
export function differenceInWords(one, other, index) {
  if (index === null) return "The two do the same, operation for operation.";
  const [a, b] = [one.operations[index], other.operations[index]];
  if (!a || !b) return `They agree as far as both go: ${index} operations.`;
  const at = a.path === b.path ? a.path || "the network itself" : `${a.path} and ${b.path}`;
  return (
    `They first differ at operation ${index + 1}, in ${at}: ${labelOf(a)} gives ${times(a.shape)}; ` +
    `in the other, ${labelOf(b)} gives ${times(b.shape)}.`
  );
}
