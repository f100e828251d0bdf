// What a reader of the shape tracer can choose, and which of it can be built.

import { CIFAR, FAULTS, IMAGENET } from "./network_rules.js";

export const ALLOWED = {
  network: [...Object.keys(IMAGENET), ...CIFAR],
  stem: ["imagenet", "cifar"],
  version: ["v1.5", "v1"],
  groups: [1, 2, 4, 8, 16, 32, 64],
  depth: [8, 20, 32, 44, 56, 110],
  shortcut: ["A", "B", "C"],
  fault: FAULTS,
};
export const RANGES = { size: [16, 320], width: [4, 128] };

/** Return settings that can be built, whatever read(name) gives: it may come from an address. Else usual(name) counts. */
export function settingsOf(read, usual = () => undefined) {
  const settings = {};
  for (const [name, allowed] of Object.entries(ALLOWED)) {
    settings[name] = [read(name), usual(name)].find((value) => allowed.includes(value)) ?? allowed[0];
  }
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    settings[name] = Math.min(Math.max(least, Math.round(read(name)) || least), most);
  }
  settings.baseWidth = settings.width;
  if (!faultsOf(settings).includes(settings.fault)) settings.fault = "none";
  return settings;
}

/** Return the faults that mean something for a network: without shortcuts, little can be wrong with them. */
export function faultsOf({ network }) {
  return network === "cifar_plain" ? ["none", "classifier"] : FAULTS;
}

/** Return the settings that were kept as text for comparison, or null. */
export function keptOf(text) {
  if (!text) return null;
  try {
    const kept = JSON.parse(text);
    return settingsOf((name) => kept?.[name]);
  } catch {
    return null; // an address that somebody has cut
  }
}

/** Return whether a setting matters for a network: a basic block has no groups, and so on. */
export function matters(name, { network }) {
  const cifar = network.startsWith("cifar");
  const bottlenecks = !cifar && IMAGENET[network][0] === "bottleneck";
  const when = {
    stem: !cifar,
    version: bottlenecks,
    groups: bottlenecks,
    width: bottlenecks,
    depth: cifar,
    shortcut: cifar && network !== "cifar_plain",
  };
  return when[name] ?? true;
}
