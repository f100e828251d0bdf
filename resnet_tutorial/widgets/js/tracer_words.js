// What the shape tracer says: names of layers, formulas with their numbers, why a network fails. No drawing.

import { grouped } from "./kit.js";

const NAMES = {
  batch_norm: "batch norm", relu: "ReLU", max_pool2d: "max-pooling", adaptive_avg_pool2d: "average pooling", mean: "mean over the map",
  flatten: "flatten", linear: "linear", getitem: "every second pixel", pad: "channels of zeros", add: "addition",
};

export function times(shape) {
  return shape.join(" × ");
}

/** Return an operation's name with the settings that one wants to see, as papers do: "3×3 conv, /2, 32 groups". */
export function labelOf({ name, kind, settings, label }) {
  if (kind === "conv" && settings.kernel) {
    const { kernel, stride, padding, groups } = settings;
    const more = [stride > 1 && `/${stride}`, groups > 1 && `${groups} groups`, kernel > 1 && padding === 0 && "no padding"];
    return [`${kernel}×${kernel} conv`, ...more.filter(Boolean)].join(", ");
  }
  if (name === "max_pool2d" && !label) return "3×3 max-pooling, /2";
  return NAMES[name] && !label?.includes(" ") ? NAMES[name] : label ?? name;
}

/** Return a number of bytes in the unit that suits it. */
export function memory(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const [unit, size] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / size).toPrecision(3)} ${unit}`;
}

/** Return multiply-accumulates in the unit that suits them. */
export function arithmetic(macs) {
  return macs < 1e6 ? grouped(macs) : macs < 1e9 ? `${(macs / 1e6).toPrecision(3)} million` : `${(macs / 1e9).toPrecision(3)} billion`;
}

function seen(field) {
  if (field === "all") return "all of the image";
  return field ? `${field.size} pixels a side, one output every ${field.jump}` : "not known";
}

/** Return what there is to know of an operation, as pairs of a name and a text. */
export function factsOf(operation, values, merge) {
  const { kind, settings, shapes, shape, params, macs, bytes, field, source } = operation;
  const facts = [["in", operation.inputs.map((value) => times(values[value].shape)).join("  and  ")], ["out", times(shape)]];
  if (kind === "conv" && settings.kernel) {
    const { kernel, stride, padding, groups } = settings;
    const [channels, side] = shapes[0];
    const exact = (side + 2 * padding - kernel) / stride;
    facts.push(["side", `⌊(${side} + 2 · ${padding} − ${kernel}) / ${stride}⌋ + 1 = ⌊${Math.round(100 * exact) / 100}⌋ + 1 = ${shape[1]}`]);
    facts.push(["parameters", `${shape[0]} · ${groups > 1 ? `(${channels} / ${groups})` : channels} · ${kernel} · ${kernel} = ${grouped(params)}`]);
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
    facts.push([merge.shortcut.length ? "shortcut" : "shortcut, the identity", `${times(shortcut.shape)}; it sees ${seen(shortcut.field)}`]);
  } else facts.push(["receptive field", seen(field)]);
  facts.push(["memory", bytes ? memory(bytes) : "none of its own"]);
  if (source) facts.push(["source", source]);
  return facts;
}

/** Return the same of a group or a block: its sums. */
export function factsOfPart(row, values) {
  return [
    ["in", times(values[row.entry].shape)], ["out", times(values[row.to].shape)],
    ["parameters", grouped(row.params)], ["multiply-accumulates", grouped(row.macs)], ["memory", memory(row.bytes)],
  ];
}

const REMEDY = {
  "no-projection": "The shortcut hands x on as it is. Where a block changes the shape it needs a projection: a 1 × 1 "
    + "convolution with the block's stride and its output's channels, and a batch norm.",
  "projection-stride": "The branch halves the map and the projection does not. Both carry the block's stride.",
  "no-padding": "A 3 × 3 without padding takes two pixels from each side. With padding=1 the size is kept.",
  classifier: "The linear layer was made for another number of channels. The last stage gives its planes times the "
    + "block's expansion: 512 · 4 for bottlenecks.",
};

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
    return [`The linear layer takes ${failure.features} numbers, and ${failure.shapes[0][0]} arrive.`, REMEDY.classifier];
  }
  return [`A map of ${times(failure.shapes[0])} is smaller than the ${failure.kernel} × ${failure.kernel} kernel.`, "Take a larger image."];
}

/** Return the network's usual name: "ResNeXt-50 (32×4d), CIFAR stem". */
export function titleOf({ network, stem, version, groups, baseWidth, depth, shortcut }) {
  if (network === "cifar_plain") return `plain-${depth}`;
  if (network.startsWith("cifar")) return `${network === "cifar_resnet" ? "ResNet" : "pre-activation ResNet"}-${depth} for small images, option ${shortcut}`;
  const number = network.slice("resnet".length);
  const bottlenecks = Number(number) >= 50;
  const more = [];
  let name = `ResNet-${number}`;
  if (bottlenecks && groups > 1) name = `ResNeXt-${number} (${groups}×${baseWidth}d)`;
  else if (bottlenecks && baseWidth !== 64) name = `${baseWidth > 64 ? "wide" : "narrow"} ResNet-${number} (width ${baseWidth})`;
  if (bottlenecks) more.push(version);
  if (stem === "cifar") more.push("stem for small images");
  return [name, ...more].join(", ");
}
