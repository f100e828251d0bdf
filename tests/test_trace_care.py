"""A trace leaves the model, and everything around it, as it was; and warns of quiet mistakes."""

from __future__ import annotations

import copy
import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as nn_module

from resnet_tutorial import BasicBlock, Bottleneck, cifar_resnet, resnet18, resnet50, trace

# -- nothing changes -------------------------------------------------------------------------


class Meddler(nn.Module):
    """A forward pass that changes everything it can lay hands on."""

    def __init__(self, fails=False):
        super().__init__()
        self.fails = fails
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4))
        self.history, self.seen = [], {"shapes": []}

    def forward(self, x):
        self.count += 1
        self.count = self.count + 1
        x = self.drop(self.norm(self.conv(x)))
        self.mean.copy_(x.mean((0, 2, 3)))
        with torch.no_grad():
            self.conv.weight.mul_(0.5)
            self.conv.bias.data.zero_()
            self.conv.bias.data = torch.ones(4)
        self.history.append(x)
        self.seen["last"] = x
        self.last, self.extra = x, nn.ReLU()
        self.norm.eval()
        self.conv.requires_grad_(False)
        self.conv.register_forward_hook(lambda *_: None)
        torch.rand(3), torch.randperm(4), random.random(), np.random.rand(), torch.manual_seed(5)
        return x + torch.zeros(9) if self.fails else x


def state_of(model):
    """Return everything that a trace could have changed; tensors as lists, which compare."""
    return {
        "tensors": {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "identities": [id(p) for p in [*model.parameters(), *model.buffers()]],
        "trainable": [p.requires_grad for p in model.parameters()],
        "attributes": [sorted(m.__dict__) for m in model.modules()],
        "modes": [m.training for m in model.modules()],
        "hooks": [list(m._forward_hooks.values()) for m in model.modules()],
        "global hooks": [dict(nn_module._global_forward_hooks), dict(nn_module._global_forward_pre_hooks)],
        "random": [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()],
        "gradient mode": torch.is_grad_enabled(),
        "computes": isinstance(torch.ones(1) + 1, torch.Tensor) and (torch.ones(1) + 1).item(),
    }


def prepared(model):
    """Give a model gradients, mixed modes and a hook."""
    shape = (2, 3, 32, 32)
    next(iter(model.children())).eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    next(iter(model.parameters())).requires_grad_(False)
    model.register_forward_hook(lambda m, args, output: None)
    return model, shape


@pytest.mark.parametrize("build", [Meddler, lambda: Meddler(fails=True), lambda: cifar_resnet(8)])
def test_a_model_is_left_as_it_was(build):
    model, shape = prepared(build())
    before = state_of(model)
    trace(model, shape)
    assert state_of(model) == before


def test_contents_of_attributes_are_left_as_they_were():
    model = Meddler()
    trace(model, (1, 3, 4, 4))
    assert model.history == [] and model.seen == {"shapes": []}


@pytest.mark.parametrize("grad", [True, False])
def test_gradient_mode_is_left(grad):
    with torch.set_grad_enabled(grad):
        trace(resnet18())
        assert torch.is_grad_enabled() == grad


def test_it_does_not_matter_where_the_forward_pass_ends():
    class Interrupted(Meddler):
        def forward(self, x):
            super().forward(x)
            raise KeyboardInterrupt

    model, shape = prepared(Interrupted())
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        trace(model, shape)
    assert state_of(model) == before


def test_training_goes_on_as_if_nothing_had_happened():
    torch.manual_seed(0)
    one = cifar_resnet(8)
    other = copy.deepcopy(one)
    x = torch.randn(4, 3, 32, 32)
    for model in (one, other):
        torch.manual_seed(1)
        for _ in range(2):
            if model is one:
                trace(model, (1, 3, 32, 32))
            model(x + 0.1 * torch.randn_like(x)).square().sum().backward()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_both_modes_are_traced_as_they_stand():
    model = resnet18()
    assert trace(model).training
    model.eval()
    assert not trace(model).training and not model.training
    shape = (1, 3, 32, 32)  # one pixel a channel is left in the last stage
    assert trace(model, shape).ok
    assert trace(model.train(), shape).failure.code == "one-value"
    assert trace(model, (2, 3, 32, 32)).ok


def test_a_model_in_another_thread_is_not_recorded():
    model, other = cifar_resnet(8), nn.ReLU()

    class Slow(nn.Module):
        def forward(self, x):
            thread = threading.Thread(target=other, args=(torch.ones(3),))
            thread.start()
            thread.join()
            return model(x)

    t = trace(Slow(), (1, 3, 32, 32))
    assert t.ok and "ReLU" not in {call.type for call in t.calls}


def test_a_trace_within_a_trace():
    class Curious(nn.Module):
        def forward(self, x):
            self.inner = len(trace(nn.ReLU(), (1, 3)))
            return x * self.inner

    assert [op.name for op in trace(Curious(), (1, 3))] == ["mul"]


# -- forward passes that ask for numbers -----------------------------------------------------


class Choosy(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.norm(x)
        print("largest", f"{x.amax().item() > 0}")
        return x * 2 if x.sum() > 1e6 else x + 1


def test_control_flow_that_depends_on_data(capsys):
    model, shape = prepared(Choosy())
    before = state_of(model)
    t = trace(model, shape)
    assert t.ok and t[-1].name == "add"
    assert [warning.code for warning in t.warnings] == ["depends-on-data"]
    assert capsys.readouterr().out == "largest True\n"  # once, with the number
    assert state_of(model) == before


def test_the_caller_s_numbers_decide():
    x = torch.ones(1, 3)
    assert [op.name for op in trace(lambda x: x * 2 if x.sum() > 2 else x + 1, x)][-1] == "mul"
    assert [op.name for op in trace(lambda x: x * 2 if x.sum() > 2 else x + 1, -x)][-1] == "add"


def test_a_model_that_prints_shapes(capsys):
    class Prints(nn.Module):
        def forward(self, x):
            print(x.shape, x.dtype)
            return x

    trace(Prints(), (1, 3))
    assert capsys.readouterr().out == "torch.Size([1, 3]) torch.float32\n"


def test_moving_between_devices_is_no_matter():
    class Moves(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x.to(self.fc.weight.device).to("cpu", torch.float32)).cpu()

    t = trace(Moves(), (1, 3))
    assert t.ok and not t.warnings


# -- warnings --------------------------------------------------------------------------------


def codes(model, shape):
    t = trace(model, shape)
    assert t.ok
    return [warning.code for warning in t.warnings]


@pytest.mark.parametrize(
    ("model", "shape"),
    [(resnet50(), (1, 3, 64, 64)), (cifar_resnet(20), (1, 3, 32, 32)), (Bottleneck(64, 16), (1, 64, 8, 8))],
)
def test_sound_networks_get_no_warning(model, shape):
    assert codes(model, shape) == []


def test_torchvision_s_overwriting_is_sound():
    models = pytest.importorskip("torchvision").models
    assert codes(models.resnet18(), (1, 3, 64, 64)) == []


def test_silent_broadcasting():
    t = trace(lambda x: x + x.mean((2, 3), keepdim=True), (1, 8, 4, 4))
    (warning,) = t.warnings
    assert warning.code == "broadcast" and warning.operation == 1
    assert "(1, 8, 4, 4)" in warning.message and "(1, 8, 1, 1)" in warning.message
    bias = nn.Parameter(torch.zeros(8, 1, 1))
    assert codes(lambda x: x + bias, (1, 8, 4, 4)) == ["unregistered"]


class PopularBottleneck(Bottleneck):
    """As a popular post has it: a ReLU on the branch, and an addition in place."""

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = F.relu(self.bn3(self.conv3(out)))
        out += shortcut
        return F.relu(out)


class InPlace(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(4, 4, 3, padding=1), function

    def forward(self, x):
        return self.function(self.conv(x))


def double_sigmoid(x):
    y = torch.sigmoid(x)
    y.mul_(2)
    return y


def overwritten_product(x):
    y = x * x
    x.add_(1)
    return y


ON_THE_WAY = {
    "relu, then +=": (PopularBottleneck(4, 4), True),
    "sigmoid, then *=": (InPlace(double_sigmoid), True),
    "a factor": (InPlace(overwritten_product), True),
    "a view of it": (InPlace(lambda x: F.relu(x)[:, :2].add_(1)), True),
    "batch norm, then +=": (InPlace(lambda x: nn.BatchNorm2d(4)(x).add_(1)), False),
    "a sum": (InPlace(lambda x: (x + 1).mul_(2)), False),
    "relu in place": (InPlace(lambda x: F.relu(x, inplace=True)), False),
    "an unknown function": (InPlace(lambda x: x.sinh().add_(1)), False),
    "an unknown function that keeps": (InPlace(lambda x: x.atanh().exp().add_(1)), True),
}


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_overwriting_what_the_backward_pass_needs(name):
    model, broken = ON_THE_WAY[name]
    y = model(torch.randn(2, 4, 5, 5))
    if broken:
        with pytest.raises(RuntimeError, match="inplace operation"):
            y.sum().backward()
    else:
        y.sum().backward()
    warnings = [w for w in trace(model, (2, 4, 5, 5)).warnings if w.code == "in-place"]
    assert bool(warnings) == broken
    assert not warnings or "backward() will raise" in warnings[0].message


def test_the_overwriting_line_is_named():
    (warning,) = trace(PopularBottleneck(64, 16), (1, 64, 8, 8)).warnings
    assert warning.message.startswith("add in PopularBottleneck (line") or warning.message.startswith("add (line")
    assert "relu" in warning.message


def test_without_trainable_parameters_nothing_is_lost():
    assert codes(PopularBottleneck(64, 16).requires_grad_(False), (1, 64, 8, 8)) == []


def test_a_shortcut_that_was_overwritten():
    class PreActivated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.conv = nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.first(x)
            out = self.conv(self.relu(x))
            return out + x  # relu(x), not x

    t = trace(PreActivated(), (1, 4, 3, 3))
    (warning,) = t.warnings
    assert warning.code == "in-place" and t[warning.operation].name == "relu"
    model = PreActivated()
    model.relu = nn.ReLU()
    assert codes(model, (1, 4, 3, 3)) == []


def test_the_usual_overwriting_is_no_mistake():
    class Usual(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.relu, self.conv = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.norm(x)
            F.relu_(x)  # a statement: the old name is meant
            identity = x
            out = self.conv(x)
            out += identity
            identity = out = self.relu(out)
            return self.norm(out) + identity

    model, shape = Usual(), (2, 4, 3, 3)
    model(torch.randn(shape)).sum().backward()
    assert codes(model, shape) == []


def test_parameters_that_take_no_part():
    model = resnet18()
    model.extra = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    (warning,) = trace(model).warnings
    assert warning.code == "unused-parameters" and "extra never takes part" in warning.message


def test_results_that_are_thrown_away():
    class Forgetful(BasicBlock):
        def forward(self, x):
            self.downsample(x)
            return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))

    (warning,) = trace(Forgetful(4, 8), (1, 4, 6, 6)).warnings
    assert warning.code == "thrown-away" and "downsample" in warning.message


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [nn.Linear(3, 3) for _ in range(2)]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (InAList(), "unregistered"),
        (lambda x: nn.Linear(3, 3)(x), "made-in-forward"),
        (lambda x: torch.flatten(x), "batch-axis"),
        (lambda x: 3, "no-output"),
    ],
)
def test_other_quiet_mistakes(model, code):
    assert codes(model, (1, 3)) == [code]
