"""Chapter 10's checks: right answers in several styles pass, wrong ones are named."""

import pytest
import torch
from torch import nn

from resnet_tutorial import check, cifar_resnet


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def listen(*, keep="output", remove="finally", detach=False):
    def output_of(model, module, x):
        found = {}

        def hook(part, inputs, output):
            found["it"] = inputs[0] if keep == "input" else output.detach() if detach else output

        handle = module.register_forward_hook(hook)
        if remove == "finally":
            try:
                model(x)
            finally:
                handle.remove()
        else:
            model(x)
            if remove == "after":
                handle.remove()
        return found.get("it") if keep != "nothing" else None

    return output_of


def cam(*, average=True, relu=True, scale="each", guard=True):
    def grad_cam(features, gradients):
        weights = gradients.mean(dim=(2, 3), keepdim=True) if average else gradients
        maps = torch.einsum("nchw,nchw->nhw", weights.expand_as(features), features)
        maps = maps.clamp(min=0) if relu else maps
        if scale == "none":
            return maps
        peak = maps.max() if scale == "all" else maps.flatten(1).max(1).values[:, None, None]
        return maps / (peak + 1e-12) if guard else maps / peak

    return grad_cam


def new_head(model, classes):
    setattr(model, "fc", nn.Linear(64, classes))  # noqa: B010
    return model


def freeze(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in ("fc.weight", "fc.bias")
    return [p for p in model.parameters() if p.requires_grad]


def freeze_everything(model):
    model.requires_grad_(False)
    model.conv1.requires_grad_(True)
    return list(model.fc.parameters())


@pytest.mark.parametrize(
    ("name", "answer"),
    [("output_of", listen()), ("grad_cam", cam()), ("replace_head", new_head), ("freeze_all_but_head", freeze)],
)
def test_right_answers_in_another_style_pass(name, answer):
    report = getattr(check, name)(answer)
    assert report.passed, report


def with_softmax(model, classes):
    model.fc = nn.Sequential(nn.Linear(64, classes), nn.Softmax(dim=1))
    return model


WRONG = [
    ("output_of", listen(keep="input"), "wrong-tensor"),
    ("output_of", listen(keep="nothing"), "wrong-type"),
    ("output_of", listen(detach=True), "detached"),
    ("output_of", listen(remove="after"), "hook-left-after-error"),
    ("output_of", listen(remove="never"), "hook-left"),
    ("grad_cam", cam(relu=False), "missing-relu"),
    ("grad_cam", cam(scale="none"), "not-scaled"),
    ("grad_cam", cam(scale="all"), "scaled-together"),
    ("grad_cam", cam(average=False), "gradients-not-averaged"),
    ("grad_cam", cam(guard=False), "divides-by-zero"),
    ("replace_head", lambda model, classes: nn.Linear(64, classes), "raised"),
    ("replace_head", lambda model, classes: cifar_resnet(8, num_classes=classes), "body-changed"),
    ("replace_head", with_softmax, "softmax"),
    ("replace_head", lambda model, classes: model, "wrong-shape"),
    ("freeze_all_but_head", lambda model: list(model.fc.parameters()), "body-not-frozen"),
    ("freeze_all_but_head", freeze_everything, "body-not-frozen"),
    ("freeze_all_but_head", lambda model: (freeze(model), model.parameters())[1], "wrong-list"),
]


@pytest.mark.parametrize(("name", "answer", "code"), WRONG)
def test_wrong_answers_are_named(name, answer, code):
    report = getattr(check, name)(answer)
    assert not report.passed and first_fault(report) == code, report


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["output_of", "grad_cam", "replace_head", "freeze_all_but_head"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted
