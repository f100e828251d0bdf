"""The networks in JavaScript are those of the package: every operation, shape and number of over 500 of them."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from torch import nn
from widget_help import rules

from resnet_tutorial import build_model, trace

DEFAULTS = {"stem": "imagenet", "version": "v1.5", "groups": 1, "baseWidth": 64, "fault": "none", "depth": 20,
            "shortcut": "A"}  # fmt: skip
SIZES = (16, 32, 33, 64, 97, 128, 224, 320)


def combinations() -> list[dict]:
    """Return the settings to compare: every pair of choices at least once, sizes and widths at random."""
    chance = random.Random(4)
    found = []
    for name, stem in itertools.product(("resnet18", "resnet34"), ("imagenet", "cifar")):
        found += [{"network": name, "stem": stem, "size": size} for size in SIZES]
    kinds = itertools.product(("resnet50", "resnet101", "resnet152"), ("imagenet", "cifar"), ("v1", "v1.5"))
    for name, stem, version in kinds:
        for groups, width in ((1, 64), (32, 4), (8, 14), (64, 4), (2, 40), (1, 128), (16, 8), (32, 8)):
            size = chance.choice(SIZES)
            found.append({"network": name, "stem": stem, "version": version, "groups": groups, "baseWidth": width,
                          "size": size})  # fmt: skip
    for depth, size in itertools.product((8, 20, 32, 44, 56, 110), (16, 28, 32, 33, 64)):
        for shortcut in "ABC":
            for network in ("cifar_resnet", "cifar_preact_resnet"):
                found.append({"network": network, "depth": depth, "shortcut": shortcut, "size": size})
        found.append({"network": "cifar_plain", "depth": depth, "size": size})
    sound = [{**DEFAULTS, **settings} for settings in found]
    faults = ("no-projection", "projection-stride", "no-padding", "classifier")
    broken = [{**settings, "fault": chance.choice(faults)} for settings in chance.sample(sound, 200)]
    return sound + broken


def model_of(settings: dict) -> nn.Module:
    """Build the network that the settings name, faults included, without memory for its numbers."""
    name, options = settings["network"], {}
    if name.startswith("cifar"):
        name += str(settings["depth"])
        if "plain" not in name:
            options["shortcut"] = settings["shortcut"]
    else:
        options["stem"] = settings["stem"]
        if name not in ("resnet18", "resnet34"):
            options |= {"version": settings["version"], "groups": settings["groups"]}
            options["base_width"] = settings["baseWidth"]
    with torch.device("meta"):
        model = build_model(name, **options)
        # In training mode batch norm refuses a map of one pixel from one image.
        return broken(model, settings["fault"]).eval()


def broken(model: nn.Module, fault: str) -> nn.Module:
    """Build a fault into the first block of the second stage, or into the classifier."""
    block = model.layer2[0]
    shortcut = getattr(block, "downsample", None)
    if fault == "no-projection" and shortcut is not None:
        block.downsample = None
    elif fault == "projection-stride" and shortcut is not None:
        for module in shortcut.modules():
            if hasattr(module, "stride"):
                module.stride = (1, 1) if isinstance(module, nn.Conv2d) else 1
    elif fault == "no-padding":
        block.conv2.padding = (0, 0)
    elif fault == "classifier":
        # ResNet-50's classifier for ResNet-18 and the other way round; the stem's channels for a small network.
        features = {64: 16, 512: 2048, 2048: 512}[model.fc.in_features]
        model.fc = nn.Linear(features, model.fc.out_features)
    return model


def as_seen(operation) -> list:
    """Return an operation as the JavaScript writes it, for comparing."""
    setting = operation.settings.get
    field = list(operation.field[0]) if isinstance(operation.field, tuple) else operation.field
    kernel = setting("kernel_size")
    seen = [operation.name, operation.kind, operation.module, list(operation.inputs), list(operation.output_shape[1:]),
            operation.params, operation.macs, operation.bytes, field]  # fmt: skip
    if operation.kind == "conv":
        seen += [kernel[0], setting("stride")[0], setting("padding")[0], setting("groups")]
    elif operation.name in ("max_pool2d", "avg_pool2d") and operation.module:  # the last one is the network's own
        seen += [kernel[0], setting("stride")[0], setting("padding")[0]]
    return seen


IN_SCRIPT = """x.map((settings) => {
  const net = buildNetwork(settings);
  const field = (f) => (f?.size ? [f.size, f.jump] : f);
  return {
    operations: net.operations.map((o) => [
      o.name, o.kind, o.path, o.inputs, o.shape, o.params, o.macs, o.bytes, field(o.field),
      ...(o.kind === "conv" ? [o.settings.kernel, o.settings.stride, o.settings.padding, o.settings.groups] : []),
      ...(o.kind === "pool" && o.settings.kernel ? [o.settings.kernel, o.settings.stride, o.settings.padding] : [])]),
    failure: net.failure && [net.failure.name, net.failure.path, net.failure.shapes],
    totals: totals(net),
  };
})"""


@pytest.fixture(scope="module")
def compared(chromium):
    settings = combinations()
    found = []
    for start in range(0, len(settings), 50):  # in parts, so that no answer is very large
        found += rules(chromium, "network_rules", IN_SCRIPT, settings[start : start + 50])
    return list(zip(settings, found, strict=True))


def test_every_operation_of_every_network_is_the_same(compared):
    assert len({tuple(settings.items()) for settings, _ in compared}) > 500
    failures = 0
    for settings, found in compared:
        size = settings["size"]
        traced = trace(model_of(settings), (1, 3, size, size))
        operations = traced.operations
        assert len(found["operations"]) == len(operations), settings
        for mine, operation in zip(found["operations"], operations, strict=True):
            assert mine == as_seen(operation), settings
        failure = traced.failure
        assert (found["failure"] is None) == (failure is None), settings
        if failure:
            failures += 1
            assert found["failure"][:2] == [failure.operation, failure.module], settings
            continue
        sums = found["totals"]
        assert (sums["params"], sums["macs"], sums["bytes"]) == (traced.params, traced.macs, traced.activation_bytes)
    assert failures > 60


@pytest.mark.parametrize(
    ("fault", "stride", "label"), [("none", 2, "every second pixel"), ("projection-stride", 1, "every pixel")]
)
def test_option_a_says_which_pixels_it_takes(chromium, fault, stride, label):
    network = {**DEFAULTS, "network": "cifar_resnet", "size": 32, "fault": fault}
    operations = rules(chromium, "network_rules", "buildNetwork(x).operations", network)
    pooling = next(o for o in operations if o["path"] == "layer2.0.downsample")
    assert pooling["settings"]["stride"] == stride
    last = next((o for o in operations if o["path"] == "" and o["name"] == "avg_pool2d"), None)
    labels = rules(chromium, "tracer_words", "x.map(labelOf)", [o for o in (pooling, last) if o])
    assert labels[0] == label and set(labels[1:]) <= {"average pooling"}
    assert bool(last) == (fault == "none")  # with the fault the addition fails before
