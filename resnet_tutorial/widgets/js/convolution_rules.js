// The arithmetic of a convolution, without any drawing.

/**
 * Return all that follows from the settings along one axis.
 *
 * span: the positions from the kernel's first tap to its last; room: how far the kernel can move;
 * out: outputs, 0 when the kernel does not fit; left: positions at the end that no window reaches.
 */
export function alongOneAxis({ size, kernel, stride, padding, dilation }) {
  const padded = size + 2 * padding;
  const span = dilation * (kernel - 1) + 1;
  const room = padded - span;
  const out = room < 0 ? 0 : Math.floor(room / stride) + 1;
  return { padded, span, room, out, left: room < 0 ? 0 : room % stride };
}

/** Return the positions that output number `index` reads; below 0 and from `size` on they are padding. */
export function taps({ kernel, stride, padding, dilation }, index) {
  return Array.from({ length: kernel }, (_, tap) => index * stride - padding + tap * dilation);
}

/** Return for each position of the row whether some output reads it. */
export function reads(settings) {
  const read = new Array(settings.size).fill(false);
  for (let index = 0; index < alongOneAxis(settings).out; index += 1) {
    for (const place of taps(settings, index)) if (place >= 0 && place < settings.size) read[place] = true;
  }
  return read;
}

/** Return the whole numbers that divide both. */
export function commonDivisors(one, other) {
  return Array.from({ length: Math.min(one, other) }, (_, n) => n + 1).filter((n) => one % n === 0 && other % n === 0);
}

/** Return parameters, multiply-accumulates and links of a convolution without bias. */
export function cost({ kernel, inChannels, outChannels, groups }, outSide) {
  const perOutput = (inChannels / groups) * kernel * kernel;
  const params = outChannels * perOutput;
  return { params, macs: params * outSide * outSide, links: (inChannels / groups) * outChannels };
}

/** Return which input channels output channel `index` reads: the first, and the one after the last. */
export function bundle({ inChannels, outChannels, groups }, index) {
  const group = Math.floor(index / (outChannels / groups));
  const width = inChannels / groups;
  return [group * width, (group + 1) * width];
}
