"""The graph that a trace holds: operations, values, branches, module calls, source lines."""

from __future__ import annotations

import collections
import json
import linecache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_tutorial import (
    EarlyConcatenation,
    IdentityBlock,
    SplitTransformMerge,
    build_model,
    cifar_plain,
    cifar_preact_resnet,
    cifar_resnet,
    resnet18,
    resnet50,
    trace,
)

CIFAR = (1, 3, 32, 32)


@pytest.fixture(scope="module")
def t():
    return trace(resnet18())


# -- operations and values -------------------------------------------------------------------


def test_functions_and_modules_are_operations_alike():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

        def forward(self, x):
            x = F.relu(self.relu(self.conv(x)))
            x = F.max_pool2d(x, 2) + torch.sigmoid(F.avg_pool2d(x, 2))
            x = torch.cat([x, x * 2, x.abs()], dim=1)
            return torch.flatten(x.mean(dim=(2, 3)), 1)

    names = [op.name for op in trace(Net(), (1, 3, 9, 9))]
    assert names == [
        "conv2d", "relu", "relu", "max_pool2d", "avg_pool2d", "sigmoid", "add", "mul", "abs", "cat", "mean", "flatten",
    ]  # fmt: skip


def test_a_function_that_fails_shows_what_it_did():
    t = trace(lambda x: (x * 2).view(-1) @ torch.eye(5), (1, 3))
    assert not t.ok and [op.name for op in t] == ["mul", "view"]
    assert "mul 2" in str(t) and "matmul" in str(t)


def test_every_spelling_of_an_addition_is_one_operation():
    def forward(x):
        y = x + x
        y = y.add(x)
        y = torch.add(y, x)
        y += x
        y.add_(x)
        return 1 + sum([y, x])

    t = trace(forward, (2, 3))
    assert {op.name for op in t} == {"add"} and len(t) == 8
    assert [op.in_place for op in t] == [False, False, False, True, True, False, False, False]


def test_an_operation_has_everything(t):
    conv = t["layer2.0.conv1"][0]
    assert (conv.name, conv.kind, conv.label) == ("conv2d", "conv", "conv2d 3x3, stride 2")
    assert (conv.input_shapes, conv.output_shape) == (((1, 64, 56, 56),), (1, 128, 28, 28))
    assert conv.parameters == ("layer2.0.conv1.weight",) and conv.params == 128 * 64 * 9
    assert conv.macs == conv.params * 28 * 28
    assert conv.bytes == 128 * 28 * 28 * 4
    assert (conv.module, conv.module_type) == ("layer2.0.conv1", "Conv2d")
    assert conv.settings["padding"] == (1, 1)


def test_values_connect_operations(t):
    for op in t:
        assert all(t.values[i].producer == op.index for i in op.outputs)
        assert all((t.values[i].producer or 0) < op.index or op.index == 0 for i in op.inputs)
        assert [t.values[i].shape for i in op.inputs] == list(op.input_shapes)
    assert t.values[0].producer is None and t.values[0].name == "input"
    assert t.values[t.outputs[0]].producer == len(t) - 1


def test_views_and_overwriting_need_no_memory():
    t = trace(lambda x: F.relu((x + 1).view(-1), inplace=True), (2, 3))
    assert [op.bytes for op in t] == [24, 0, 0]
    assert t.activation_bytes == 24


def test_several_inputs_and_outputs():
    class Net(nn.Module):
        def forward(self, image, mask, scale=None):
            return {"masked": image * mask, "pair": (image + 1, [scale * 2])}

    shape = (1, 3, 4, 4)
    t = trace(Net(), {"image": shape, "mask": (1, 1, 4, 4), "scale": (1,)})
    assert t.ok and t.output_shapes == [shape, shape, (1,)]
    assert trace(lambda a, b: a @ b, [(2, 3), (3, 4)]).output_shape == (2, 4)
    pair = collections.namedtuple("Pair", "first second")
    assert trace(lambda x: pair(x, x + 1), (1, 3)).output_shapes == [(1, 3), (1, 3)]


def test_a_chunk_is_one_operation_with_several_outputs():
    t = trace(lambda x: torch.cat(x.chunk(2, dim=1)[::-1], 1), (1, 4, 2, 2))
    assert t[0].output_shapes == ((1, 2, 2, 2),) * 2
    assert t[1].inputs == t[0].outputs[::-1]


def test_a_tensor_that_is_taken_apart():
    def forward(x):
        first, second = x
        largest, where = x.max(dim=1)
        return first + second, largest * 2, [row * 3 for row in x]

    t = trace(forward, (2, 5))
    assert [op.name for op in t] == ["unbind", "max", "add", "mul", "unbind", "mul", "mul"]
    assert not t.warnings and t[2].inputs == t[0].outputs


def test_a_default_device_is_no_matter():
    with torch.device("meta"):
        model = resnet18()
        assert trace(model, (2, 3, 64, 64)).ok
        model.layer2[0].downsample = None
        assert trace(model, (2, 3, 64, 64)).failure.error.startswith("RuntimeError: The size of tensor a")


def test_a_dropout_that_rests_is_still_a_step():
    t = trace(nn.Sequential(nn.Dropout(), nn.ReLU()).eval(), (1, 3))
    assert [op.name for op in t] == ["dropout", "relu"]
    assert t[1].inputs == t[0].outputs


def test_tensors_that_are_written_piece_by_piece():
    def pad(x):
        out = torch.zeros(x.shape[0], 8, *x.shape[2:])
        out[:, :3] = x
        out[:, 3:6].copy_(x)
        return out * 2

    t = trace(pad, (1, 3, 4, 4))
    assert t.ok and not t.warnings and t.output_shape == (1, 8, 4, 4)


# -- modules ---------------------------------------------------------------------------------


def test_module_calls_are_nested(t):
    paths = {call.path: call for call in t.calls}
    block = paths["layer1.1"]
    assert (block.type, t.calls[block.parent].path) == ("BasicBlock", "layer1")
    assert [op.name for op in t.operations[block.first : block.last]] == [
        "conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "add", "relu",
    ]  # fmt: skip
    assert t.values[block.inputs[0]].shape == t.values[block.outputs[0]].shape == (1, 64, 56, 56)
    assert paths[""].last == len(t)


def test_a_module_that_is_called_twice():
    layer = nn.Conv2d(3, 3, 1)
    t = trace(nn.Sequential(layer, nn.ReLU(), layer), (1, 3, 4, 4))
    first, _, second = t.operations
    assert first.parameters == second.parameters
    assert (first.params, second.params, t.params) == (12, 0, 12)  # counted once
    assert first.macs == second.macs > 0  # computed twice
    assert len([call for call in t.calls if call.path == "0"]) == 2


def test_operations_by_path(t):
    assert [op.module for op in t["layer1.0.bn2"]] == ["layer1.0.bn2"]
    assert len(t["layer1"]) == 14 and t["layer1"][0].index == 4
    with pytest.raises(KeyError):
        t["layer9"]


# -- branches --------------------------------------------------------------------------------


def test_every_addition_knows_its_branches(t):
    assert len(t.merges) == 8
    identity = [m.branches[m.shortcut].is_identity for m in t.merges]
    assert identity == [True, True, False, True, False, True, False, True]
    projected = t.merges[2]
    shortcut = projected.branches[projected.shortcut]
    assert [t[i].module for i in shortcut.operations] == ["layer2.0.downsample.0", "layer2.0.downsample.1"]
    branch = projected.branches[1 - projected.shortcut]
    assert len(branch.operations) == 5 and branch.shape == shortcut.shape
    assert t.values[projected.fork].shape == (1, 64, 56, 56)


@pytest.mark.parametrize(
    ("model", "shape", "count"),
    [
        (cifar_resnet(20), CIFAR, 9),
        (cifar_preact_resnet(20), CIFAR, 9),
        (cifar_plain(20), CIFAR, 0),
        (IdentityBlock(64, 16), (1, 64, 8, 8), 1),
    ],
)
def test_one_merge_a_block(model, shape, count):
    merges = trace(model, shape).merges
    assert len(merges) == count
    assert all(merge.shortcut is not None and merge.fork is not None for merge in merges)


def test_aggregated_paths():
    t = trace(EarlyConcatenation(64, 64), (1, 64, 8, 8))
    joined, added = t.merges
    assert joined.name == "cat" and len(joined.branches) == 32 and added.name == "add"
    assert joined.fork == added.fork == 0
    sums = trace(SplitTransformMerge(64, 64), (1, 64, 8, 8)).merges
    assert len(sums) == 32 and sums[-1].shortcut == 1


# -- source lines ----------------------------------------------------------------------------


def test_the_line_and_the_expression(t):
    first = t[0].source
    assert first.place == "models.py" and first.file.endswith("models.py")
    assert first.text == "x = self.maxpool(self.relu(self.bn1(self.conv1(x))))"
    assert first.expression == "self.conv1(x)"
    assert t["bn1"][0].source.expression == "self.bn1(self.conv1(x))"
    add = t[t.merges[0].operation].source
    assert (add.expression, add.function) == ("out + shortcut", "BasicBlock.forward")


def test_lines_of_a_notebook_s_cell():
    cell = "def forward(x):\n    y = x * 2\n    return y + 'ä'.__len__() + y\n"
    name = "<ipython-input-7-abc>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    scope = {}
    exec(compile(cell, name, "exec"), scope)
    product, _, total = trace(scope["forward"], (1, 3))
    assert (product.source.line, product.source.text) == (2, "y = x * 2")
    assert total.source.expression == "y + 'ä'.__len__() + y"
    assert str(total.source) == "the notebook, line 3"


def test_layers_in_a_sequential_have_the_line_that_calls_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

        def forward(self, x):
            return self.layers(x)

    assert {op.source.text for op in trace(Net(), (1, 3))} == {"return self.layers(x)"}
    assert trace(nn.Sequential(nn.ReLU()), (1, 3))[0].source is None


# -- for other programs ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet50", "cifar_resnet20", "cifar_resnext29_8x64d"])
def test_the_graph_is_json(name):
    with torch.device("meta"):
        model = build_model(name)
    t = trace(model, CIFAR if "cifar" in name else (1, 3, 224, 224))
    data = json.loads(t.to_json())
    assert data["params"] == t.params and data["macs"] == t.macs
    assert len(data["operations"]) == len(t) and len(data["merges"]) == len(t.merges)
    assert data["operations"][0]["source"]["text"]
    assert data["merges"][0]["branches"][0]["shape"] == list(t.merges[0].branches[0].shape)


def test_a_broken_network_is_json_too():
    model = resnet18()
    model.layer2[0].downsample = None
    failure = json.loads(trace(model).to_json())["failure"]
    assert failure["code"] == "no-projection" and failure["axis"] == 1
    assert failure["shapes"]["shortcut"] == [1, 64, 56, 56]


def test_rows_with_and_without_pandas(t):
    rows = t.to_records()
    assert len(rows) == len(t) and rows[0]["macs"] == t[0].macs
    frame = pytest.importorskip("pandas") and t.to_dataframe()
    assert frame["params"].sum() == t.params
    assert list(frame.columns) == list(rows[0])


def test_without_pandas_the_error_says_what_to_do(t, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="to_records"):
        t.to_dataframe()


# -- comparing -------------------------------------------------------------------------------


def test_equal_networks_do_not_differ():
    models = pytest.importorskip("torchvision").models
    for name in ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"):
        with torch.device("meta"):
            difference = trace(build_model(name)).diff(getattr(models, name)())
        assert not difference and difference.same, difference


@pytest.mark.parametrize(
    ("other", "where", "words"),
    [
        (lambda: resnet50(version="v1"), "layer2.0.conv1", "stride (1, 1) against (2, 2)"),
        (lambda: resnet50(num_classes=10), "fc", "(1000, 2048)"),
        (lambda: resnet50(groups=32, base_width=4), "layer1.0.conv1", "(128, 64, 1, 1)"),
        (resnet18, "layer1.0.downsample.0", "kernel_size (1, 1) against (3, 3)"),
    ],
)
def test_the_first_difference(other, where, words):
    with torch.device("meta"):
        difference = trace(resnet50()).diff(other())
    assert difference and difference.here.module == where
    assert words in str(difference)


def test_a_missing_shortcut_is_the_difference():
    difference = trace(cifar_resnet(20), CIFAR).diff(trace(cifar_plain(20), CIFAR))
    assert (difference.here.name, difference.there.name) == ("add", "relu")
    assert difference.here.module == "layer1.0"


def test_named_inputs_are_compared_by_name():
    class Net(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, image, *, mask):
            return image * mask * self.factor

    t = trace(Net(2), {"image": (1, 3), "mask": (1, 1)})
    assert t.diff(Net(2)).same and t.diff(Net(3)).here.label == "mul 2"


def test_a_longer_network():
    short, long = nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.Sigmoid())
    assert trace(long, (1, 3)).diff(short).here.name == "sigmoid"
    assert trace(short, (1, 3)).diff(long).there.name == "sigmoid"
    assert trace(short, (1, 3)).diff(long).here is None
