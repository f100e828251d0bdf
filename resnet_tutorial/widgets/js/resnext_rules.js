// The arithmetic of a ResNeXt block, without any drawing.

export const CARDINALITIES = [1, 2, 4, 8, 16, 32, 64];
export const STAGES = [256, 512, 1024, 2048]; // channels in and out of the blocks of each stage
export const FORMS = ["a", "b", "c"];
export const KEPT = ["parameters", "macs", "nothing"];
const PLAIN = { cardinality: 1, width: 64 };

/** Return the plain bottleneck of the same stage, which every block is measured by. */
export function plain({ channels }) {
  return { ...PLAIN, channels };
}

/**
 * Return the channels of one group, those of the whole middle, and the pixels along a side of the map.
 *
 * The width stands for the channels of a group in the first stage, as in the name 32×4d; it grows with the stage.
 */
export function sizes({ cardinality, width, channels }) {
  const group = (width * channels) / STAGES[0];
  return { group, middle: cardinality * group, side: (56 * STAGES[0]) / channels };
}

/** Return the parameters of each layer and together, and the multiply-accumulates of the three convolutions. */
export function counts(block) {
  const { group, middle, side } = sizes(block);
  const reduce = block.channels * middle;
  const transform = middle * group * 9;
  const expand = middle * block.channels;
  const convolutions = reduce + transform + expand;
  const norms = 2 * (middle + middle + block.channels);
  const parameters = convolutions + norms;
  return { reduce, transform, expand, convolutions, norms, parameters, macs: convolutions * side ** 2 };
}

/**
 * Return the whole width whose block comes nearest to the plain one's cost.
 *
 * At stride 1 the MACs are the weights times the positions, so either of them leads to the same width.
 */
export function equalWidth({ cardinality, channels, keep }) {
  const cost = (block) => (keep === "macs" ? counts(block).macs : counts(block).convolutions);
  const wanted = cost(plain({ channels }));
  let best = 1;
  let least = Infinity;
  for (let width = 1; width <= PLAIN.width; width += 1) {
    const distance = Math.abs(cost({ cardinality, width, channels }) - wanted);
    if (distance < least) [best, least] = [width, distance];
  }
  return best;
}

/** Return how many separate convolutions a form has. */
export function calls({ cardinality, form }) {
  return { a: 3 * cardinality, b: 2 * cardinality + 1, c: 3 }[form];
}

function nearest(known, value) {
  return known.reduce((best, one) => (Math.abs(one - value) < Math.abs(best - value) ? one : best));
}

/** Return the state with values that are allowed; where a cost is kept, the width follows from the rest. */
export function settled(values) {
  const now = {
    cardinality: nearest(CARDINALITIES, values.cardinality),
    width: Math.min(Math.max(Math.round(Number(values.width)) || 1, 1), PLAIN.width),
    channels: nearest(STAGES, values.channels),
    form: FORMS.includes(values.form) ? values.form : "c",
    keep: KEPT.includes(values.keep) ? values.keep : "nothing",
  };
  if (now.keep !== "nothing") now.width = equalWidth(now);
  return now;
}
