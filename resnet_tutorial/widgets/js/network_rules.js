// The networks of the book, operation by operation, with the arithmetic of shapes and costs.
//
// The order, the names and every number are those of trace(build_model(...)) in Python, and a test holds them
// together. A network is {operations, values, failure}; operation number i makes value number i + 1, and value 0
// is the image.

const FLOAT = 4; // bytes
export const IMAGENET = {
  resnet18: ["basic", [2, 2, 2, 2]],
  resnet34: ["basic", [3, 4, 6, 3]],
  resnet50: ["bottleneck", [3, 4, 6, 3]],
  resnet101: ["bottleneck", [3, 4, 23, 3]],
  resnet152: ["bottleneck", [3, 8, 36, 3]],
};
export const CIFAR = ["cifar_resnet", "cifar_preact_resnet", "cifar_plain"];
export const FAULTS = ["none", "no-projection", "projection-stride", "no-padding", "classifier"];
const BROKEN_STAGE = 2;

/** Thrown inside a network where two shapes do not fit; caught by whoever builds it. */
class Misfit extends Error {}

/** Return what an output sees whose kernel covers inputs with this receptive field. */
function through(field, kernel, stride) {
  return field && { size: field.size + (kernel - 1) * field.jump, jump: field.jump * stride };
}

/** Takes down what a forward pass does, as the tracer does in Python. Shapes have no batch axis. */
class Recorder {
  constructor(shape) {
    this.operations = [];
    this.values = [{ shape, field: { size: 1, jump: 1 } }];
    this.failure = null;
  }

  take(name, kind, path, inputs, shape, more = {}) {
    const index = this.operations.length;
    const before = this.widest(inputs);
    const field = before && (more.field === undefined ? before : more.field);
    const size = shape.reduce((product, n) => product * n, 1);
    const shapes = inputs.map((value) => this.values[value].shape);
    const bytes = more.view ? 0 : FLOAT * size;
    this.operations.push({
      index,
      name,
      kind,
      path,
      inputs,
      shapes,
      shape,
      params: 0,
      macs: 0,
      settings: {},
      ...more,
      bytes,
      field,
    });
    this.values.push({ shape, field });
    return index + 1;
  }

  /** Return the largest receptive field of several values, "all" of the image, or null where it is not known. */
  widest(inputs) {
    const fields = inputs.map((value) => this.values[value].field).filter((field) => field !== null);
    if (fields.includes("all")) return "all";
    if (!fields.length) return null;
    return { size: Math.max(...fields.map((f) => f.size)), jump: Math.max(...fields.map((f) => f.jump)) };
  }

  fail(name, path, inputs, cause) {
    const shapes = inputs.map((value) => this.values[value].shape);
    this.failure = { index: this.operations.length, name, path, inputs, shapes, ...cause };
    throw new Misfit(name);
  }

  conv(x, path, out, { kernel, stride = 1, padding = (kernel - 1) / 2, groups = 1 }) {
    const {
      shape: [channels, ...sides],
      field,
    } = this.values[x];
    const places = sides.map((side) => Math.floor((side + 2 * padding - kernel) / stride) + 1);
    if (Math.min(...places) < 1) this.fail("conv2d", path, [x], { cause: "too-small", kernel, padding });
    const params = out * (channels / groups) * kernel * kernel;
    return this.take("conv2d", "conv", path, [x], [out, ...places], {
      params,
      macs: params * places[0] * places[1],
      settings: { kernel, stride, padding, groups },
      field: through(field, kernel, stride),
    });
  }

  norm(x, path) {
    const { shape } = this.values[x];
    return this.take("batch_norm", "norm", path, [x], shape, { params: 2 * shape[0] });
  }

  relu(x, path, inPlace = false) {
    return this.take("relu", "activation", path, [x], this.values[x].shape, { view: inPlace });
  }

  maxPool(x, path) {
    const {
      shape: [channels, ...sides],
      field,
    } = this.values[x];
    const places = sides.map((side) => Math.floor((side - 1) / 2) + 1);
    return this.take("max_pool2d", "pool", path, [x], [channels, ...places], {
      settings: { kernel: 3, stride: 2, padding: 1 },
      field: through(field, 3, 2),
    });
  }

  add(branch, shortcut, path) {
    const [one, other] = [this.values[branch].shape, this.values[shortcut].shape];
    if (one.some((n, axis) => n !== other[axis] && n !== 1 && other[axis] !== 1))
      this.fail("add", path, [branch, shortcut], { cause: "shapes" });
    const shape = one.map((n, axis) => Math.max(n, other[axis])); // an axis of 1 is spread, without a word
    const field = String(shape) === String(one) ? undefined : null;
    return this.take("add", "add", path, [branch, shortcut], shape, { spread: String(one) !== String(other), field });
  }

  linear(x, path, features, classes) {
    const [given] = this.values[x].shape;
    if (given !== features) this.fail("linear", path, [x], { cause: "features", features });
    const params = features * classes + classes;
    return this.take("linear", "linear", path, [x], [classes], {
      params,
      macs: params,
      settings: { features, classes },
      field: "all",
    });
  }
}

// --- blocks: each takes the recorder, the input's number and its path, and returns the output's number ---

function projection(net, x, path, out, stride) {
  return net.norm(net.conv(x, `${path}.downsample.0`, out, { kernel: 1, stride }), `${path}.downsample.1`);
}

/** Option A: every stride-th pixel, and zeros for the new channels. */
function zeroPadded(net, x, path, out, stride) {
  const {
    shape: [, ...sides],
    field,
  } = net.values[x];
  const [channels] = net.values[x].shape;
  const places = sides.map((side) => Math.ceil(side / stride));
  const here = `${path}.downsample`;
  const picked = net.take("avg_pool2d", "pool", here, [x], [channels, ...places], {
    settings: { kernel: 1, stride, padding: 0 },
    field: through(field, 1, stride),
  });
  return net.take("pad", "shape", here, [picked], [out, ...places]);
}

/** Return the shortcut's value: x itself where it fits. */
function shortcutOf(net, x, path, out, { stride, option, fault, bare = false }) {
  const changes = stride !== 1 || net.values[x].shape[0] !== out;
  if (fault === "no-projection" || (!changes && option !== "C")) return x;
  const step = fault === "projection-stride" ? 1 : stride;
  if (option === "A") return zeroPadded(net, x, path, out, step);
  return bare
    ? net.conv(x, `${path}.downsample`, out, { kernel: 1, stride: step })
    : projection(net, x, path, out, step);
}

function basicBlock(net, x, path, planes, options) {
  const { stride, fault } = options;
  const shortcut = shortcutOf(net, x, path, planes, options);
  const first = net.norm(net.conv(x, `${path}.conv1`, planes, { kernel: 3, stride }), `${path}.bn1`);
  const padding = fault === "no-padding" ? 0 : 1;
  const second = net.conv(net.relu(first, path), `${path}.conv2`, planes, { kernel: 3, padding });
  return net.relu(net.add(net.norm(second, `${path}.bn2`), shortcut, path), path, true);
}

function plainBlock(net, x, path, planes, { stride, fault }) {
  const first = net.relu(net.norm(net.conv(x, `${path}.conv1`, planes, { kernel: 3, stride }), `${path}.bn1`), path);
  const padding = fault === "no-padding" ? 0 : 1;
  return net.relu(net.norm(net.conv(first, `${path}.conv2`, planes, { kernel: 3, padding }), `${path}.bn2`), path);
}

function preActBlock(net, x, path, planes, options) {
  const { stride, fault } = options;
  const activated = net.relu(net.norm(x, `${path}.bn1`), path);
  const found = shortcutOf(net, activated, path, planes, { ...options, bare: true });
  const shortcut = found === activated ? x : found; // the identity goes past the activation, a projection does not
  const first = net.norm(net.conv(activated, `${path}.conv1`, planes, { kernel: 3, stride }), `${path}.bn2`);
  const padding = fault === "no-padding" ? 0 : 1;
  return net.add(net.conv(net.relu(first, path), `${path}.conv2`, planes, { kernel: 3, padding }), shortcut, path);
}

/** Return the channels of a bottleneck's 3x3: torchvision's int(planes * base_width / 64) * groups. */
export function bottleneckWidth(planes, groups, baseWidth) {
  return Math.floor((planes * baseWidth) / 64) * groups;
}

function bottleneck(net, x, path, planes, options) {
  const { stride, fault, groups, baseWidth, version } = options;
  const width = bottleneckWidth(planes, groups, baseWidth);
  const [first, middle] = version === "v1" ? [stride, 1] : [1, stride];
  const shortcut = shortcutOf(net, x, path, 4 * planes, options);
  const reduced = net.norm(net.conv(x, `${path}.conv1`, width, { kernel: 1, stride: first }), `${path}.bn1`);
  const padding = fault === "no-padding" ? 0 : 1;
  const seen = net.conv(net.relu(reduced, path), `${path}.conv2`, width, {
    kernel: 3,
    stride: middle,
    groups,
    padding,
  });
  const wide = net.conv(net.relu(net.norm(seen, `${path}.bn2`), path), `${path}.conv3`, 4 * planes, { kernel: 1 });
  return net.relu(net.add(net.norm(wide, `${path}.bn3`), shortcut, path), path, true);
}

function stage(net, x, number, block, planes, count, options) {
  let y = x;
  for (let index = 0; index < count; index += 1) {
    const first = index === 0;
    const fault = first && number === BROKEN_STAGE ? options.fault : "none";
    y = block(net, y, `layer${number}.${index}`, planes, { ...options, stride: first ? options.stride : 1, fault });
  }
  return y;
}

// --- networks ---

function globalAverage(net, x, name, path) {
  const [channels, side] = net.values[x].shape;
  const field = side === 1 ? undefined : "all"; // of a single position the mean sees no more than that does
  x = net.take(name, "pool", path, [x], [channels, 1, 1], { field });
  return net.take("flatten", "shape", "", [x], [channels], { view: true });
}

function imagenetNetwork(net, settings) {
  const { network, stem, version, groups, baseWidth, fault } = settings;
  const [kind, counts] = IMAGENET[network];
  const [block, expansion] = kind === "basic" ? [basicBlock, 1] : [bottleneck, 4];
  const large = stem === "imagenet";
  let x = net.conv(0, "conv1", 64, large ? { kernel: 7, stride: 2 } : { kernel: 3 });
  x = net.relu(net.norm(x, "bn1"), "relu", true);
  if (large) x = net.maxPool(x, "maxpool");
  counts.forEach((count, index) => {
    const options = { stride: index ? 2 : 1, option: "B", version, groups, baseWidth, fault };
    x = stage(net, x, index + 1, block, 64 * 2 ** index, count, options);
  });
  x = globalAverage(net, x, "adaptive_avg_pool2d", "avgpool");
  net.linear(x, "fc", fault === "classifier" ? 2560 - 512 * expansion : 512 * expansion, 1000);
}

function cifarNetwork(net, { network, depth, shortcut, fault }) {
  const preact = network === "cifar_preact_resnet";
  const block = { cifar_resnet: basicBlock, cifar_plain: plainBlock, cifar_preact_resnet: preActBlock }[network];
  let x = net.conv(0, "conv1", 16, { kernel: 3 });
  if (!preact) x = net.relu(net.norm(x, "bn1"), "");
  [16, 32, 64].forEach((planes, index) => {
    x = stage(net, x, index + 1, block, planes, (depth - 2) / 6, { stride: index ? 2 : 1, option: shortcut, fault });
  });
  if (preact) x = net.relu(net.norm(x, "bn1"), "");
  x = globalAverage(net, x, "avg_pool2d", "");
  net.linear(x, "fc", fault === "classifier" ? 16 : 64, 10);
}

/**
 * Return the network of these settings: {operations, values, failure}.
 *
 * settings: network (a key of IMAGENET or one of CIFAR), size of the image, fault; stem, version, groups, baseWidth
 * of the first kind; depth (6 n + 2) and shortcut (A, B, C) of the second.
 */
export function buildNetwork(settings) {
  const net = new Recorder([3, settings.size, settings.size]);
  try {
    if (settings.network in IMAGENET) imagenetNetwork(net, settings);
    else cifarNetwork(net, settings);
  } catch (problem) {
    if (!(problem instanceof Misfit)) throw problem;
  }
  return net;
}

/** Return the sums over all operations. */
export function totals({ operations }) {
  const sum = (name) => operations.reduce((total, operation) => total + operation[name], 0);
  return { operations: operations.length, params: sum("params"), macs: sum("macs"), bytes: sum("bytes") };
}
