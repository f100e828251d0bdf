"""Chapter 10's checks: right answers in several styles pass, wrong ones are named."""

import copy

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


def listening(*, before=lambda model: None, hook=lambda output: None, run=lambda model, x: model(x), clear=False):
    def output_of(model, module, x):
        before(model)
        found = []

        def keep(part, inputs, output):
            found.append(output)
            return hook(output)

        handle = module.register_forward_hook(keep)
        try:
            run(model, x)
        finally:
            handle.remove()
            if clear:
                module._forward_hooks.clear()
        return found[0]

    return output_of


def removes_in_the_hook(model, module, x):
    found = []

    def hook(part, inputs, output):
        found.append(output)
        handle.remove()

    handle = module.register_forward_hook(hook)
    model(x)
    return found[0]


def keeps_its_list(model, module, x, found=[]):  # noqa: B006
    found.append(listening()(model, module, x))
    return found[0]


def swallows(model, module, x):
    found = []
    handle = module.register_forward_hook(lambda part, inputs, output: found.append(output))
    try:
        model(x)
    except Exception:
        pass
    finally:
        handle.remove()
    return found[0]


def replaces_forward(model, module, x):
    forward, found = module.forward, []

    def listens(*inputs):
        found.append(forward(*inputs))
        return found[-1]

    module.forward = listens
    try:
        model(x)
    finally:
        del module.forward
    return found[-1]


def by_weights(*, weigh=lambda g: g.mean((2, 3), keepdim=True), join=lambda w, f: (w * f).sum(1).relu(), guard=1e-12):
    def grad_cam(features, gradients):
        maps = join(weigh(gradients), features)
        return maps / maps.amax((1, 2), keepdim=True).clamp(min=guard)

    return grad_cam


def in_place(features, gradients):
    features *= gradients.mean((2, 3), keepdim=True)
    maps = features.sum(1).relu()
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-7)


def from_the_minimum(features, gradients):
    maps = (gradients.mean((2, 3), keepdim=True) * features).sum(1).relu()
    low = maps.amin((1, 2), keepdim=True)
    return (maps - low) / (maps.amax((1, 2), keepdim=True) - low).clamp(min=1e-12)


def head(make):
    """Replace the head by what ``make`` gives for the old head and the number of classes."""

    def replace(model, classes):
        model.fc = make(model.fc, classes)
        return model

    return replace


def new_only_for_another_number(model, classes):
    return model if model.fc.out_features == classes else new_head(model, classes)


def keeps_rows(old, classes):
    new = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        new.weight[:3] = old.weight[:3]
    return new


def freezes_too(model, classes):
    model.requires_grad_(False)
    return new_head(model, classes)


def freezes_children(model):
    for child in model.children():
        child.requires_grad_(child is model.fc)
    return list(model.fc.parameters())


def wrong_order(model):
    model.fc.requires_grad_(True)
    model.requires_grad_(False)
    return list(model.fc.parameters())


def only_switches_off(model):
    for name, parameter in model.named_parameters():
        if not name.startswith("fc."):
            parameter.requires_grad = False
    return list(model.fc.parameters())


def by_part_of_a_name(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "fc" in name
    return [p for p in model.parameters() if p.requires_grad]


def with_a_new_head(model):
    return freeze(new_head(model, 10))


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
    setattr(model, "fc", nn.Linear(model.fc.in_features, classes))  # noqa: B010
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
    [
        ("output_of", listen()),
        ("output_of", listening()),
        ("output_of", replaces_forward),
        ("grad_cam", cam()),
        ("grad_cam", by_weights()),
        ("grad_cam", by_weights(guard=1e-6)),
        ("grad_cam", by_weights(weigh=lambda g: g.sum((2, 3), keepdim=True))),
        ("replace_head", new_head),
        ("replace_head", head(lambda old, classes: nn.Linear(old.weight.shape[1], classes))),
        ("freeze_all_but_head", freeze),
        ("freeze_all_but_head", lambda model: tuple(freeze(model))),
    ],
)
def test_right_answers_in_another_style_pass(name, answer):
    report = getattr(check, name)(answer)
    assert report.passed, report


def with_softmax(model, classes):
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, classes), nn.Softmax(dim=1))
    return model


WRONG = [
    ("output_of", listen(keep="input"), "wrong-tensor"),
    ("output_of", listen(keep="nothing"), "wrong-type"),
    ("output_of", listen(detach=True), "detached"),
    ("output_of", listen(remove="after"), "hook-left-after-error"),
    ("output_of", listening(before=lambda model: model.eval()), "mode-changed"),
    ("output_of", listening(before=lambda model: model.train()), "mode-changed"),
    ("output_of", listening(hook=lambda output: output * 0), "output-changed"),
    ("output_of", listening(run=lambda model, x: (model(x), model(x))), "runs-twice"),
    ("output_of", lambda model, module, x: module(x), "model-not-run"),
    ("output_of", listening(clear=True), "removes-others"),
    ("output_of", lambda model, module, x: [listening()(model, module, x)], "wrong-type"),
    ("output_of", swallows, "error-swallowed"),
    ("output_of", removes_in_the_hook, "hook-left-after-error"),
    ("output_of", keeps_its_list, "kept-from-last-call"),
    ("output_of", listen(remove="never"), "hook-left"),
    ("grad_cam", cam(relu=False), "missing-relu"),
    ("grad_cam", cam(scale="none"), "not-scaled"),
    ("grad_cam", cam(scale="all"), "scaled-together"),
    ("grad_cam", cam(average=False), "gradients-not-averaged"),
    ("grad_cam", cam(guard=False), "divides-by-zero"),
    ("grad_cam", in_place, "input-modified"),
    ("grad_cam", by_weights(guard=1e-3), "guard-too-large"),
    ("grad_cam", by_weights(guard=1.0), "guard-too-large"),
    ("grad_cam", by_weights(guard=1e-4), "guard-too-large"),
    ("grad_cam", lambda features, gradients: by_weights()(features, gradients).squeeze(), "wrong-shape"),
    ("grad_cam", from_the_minimum, "scaled-from-the-minimum"),
    ("grad_cam", by_weights(join=lambda w, f: (w * f).relu().sum(1)), "relu-before-sum"),
    ("grad_cam", by_weights(join=lambda w, f: (w * f).sum(1).abs()), "absolute-value"),
    ("grad_cam", by_weights(weigh=lambda g: g.abs().mean((2, 3), keepdim=True)), "gradients-without-sign"),
    ("grad_cam", by_weights(weigh=lambda g: g.relu().mean((2, 3), keepdim=True)), "positive-gradients-only"),
    ("grad_cam", by_weights(weigh=lambda g: g.amax((2, 3), keepdim=True)), "largest-gradient"),
    ("grad_cam", by_weights(weigh=lambda g: g.mean(1, keepdim=True)), "averaged-over-channels"),
    ("grad_cam", by_weights(weigh=lambda g: g.mean((0, 2, 3), keepdim=True)), "gradients-of-all-images"),
    ("grad_cam", lambda features, gradients: by_weights()(gradients, features), "swapped"),
    ("grad_cam", lambda features, gradients: by_weights()(features, gradients)[:, None], "wrong-shape"),
    ("grad_cam", lambda features, gradients: by_weights()(features, gradients).numpy(), "wrong-type"),
    ("replace_head", lambda model, classes: nn.Linear(64, classes), "wrong-type"),
    ("replace_head", lambda model, classes: new_head(model, classes).fc, "wrong-type"),
    ("replace_head", lambda model, classes: print(new_head(model, classes)), "wrong-type"),
    ("replace_head", head(lambda old, classes: nn.Linear(64, classes)), "wrong-inputs"),
    ("replace_head", head(lambda old, classes: nn.Sequential(old, nn.Linear(10, classes))), "old-head-kept"),
    ("replace_head", head(lambda old, classes: nn.Linear(old.in_features, classes, bias=False)), "no-bias"),
    (
        "replace_head",
        head(lambda old, classes: nn.Sequential(nn.Dropout(0.5), nn.Linear(old.in_features, classes))),
        "not-linear",
    ),
    ("replace_head", head(keeps_rows), "old-weights"),
    ("replace_head", new_only_for_another_number, "old-weights"),
    ("replace_head", lambda model, classes: new_head(copy.deepcopy(model), classes), "copied"),
    ("replace_head", freezes_too, "body-frozen"),
    ("replace_head", lambda model, classes: cifar_resnet(8, num_classes=classes), "body-changed"),
    ("replace_head", with_softmax, "softmax"),
    ("replace_head", lambda model, classes: model, "wrong-shape"),
    ("freeze_all_but_head", lambda model: list(model.fc.parameters()), "body-not-frozen"),
    ("freeze_all_but_head", freeze_everything, "body-not-frozen"),
    ("freeze_all_but_head", lambda model: (freeze(model), list(model.parameters()))[1], "wrong-list"),
    ("freeze_all_but_head", lambda model: (freeze(model), model.fc.parameters())[1], "wrong-type"),
    ("freeze_all_but_head", lambda model: print(freeze(model)), "wrong-type"),
    ("freeze_all_but_head", lambda model: freeze(model)[:1], "wrong-list"),
    ("freeze_all_but_head", wrong_order, "head-frozen"),
    ("freeze_all_but_head", only_switches_off, "head-frozen"),
    ("freeze_all_but_head", freezes_children, "body-not-frozen"),
    ("freeze_all_but_head", by_part_of_a_name, "body-not-frozen"),
    ("freeze_all_but_head", with_a_new_head, "new-head"),
]


@pytest.mark.parametrize(("name", "answer", "code"), WRONG)
def test_wrong_answers_are_named(name, answer, code):
    report = getattr(check, name)(answer)
    assert not report.passed and first_fault(report) == code, report
    failed = [finding.code for finding in report.findings if not finding.ok]
    assert len(failed) == len(set(failed)), "the same finding twice"


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["output_of", "grad_cam", "replace_head", "freeze_all_but_head"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted
