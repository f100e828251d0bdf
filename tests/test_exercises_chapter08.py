"""Chapter 8's checks: right answers in several styles pass, wrong ones are named."""

import copy
import math
import random

import pytest
import torch
import torch.nn.functional as F

from resnet_tutorial import check

EXERCISES = ("random_crops", "smoothed_cross_entropy", "one_cycle", "train_step", "error_percent")


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def stub(*args):
    raise NotImplementedError()


@pytest.mark.parametrize("name", EXERCISES)
def test_the_books_own_version_passes_and_the_stub_is_not_attempted(name):
    exercise = getattr(check, name)
    report = exercise(exercise.load_solution())
    assert report.passed, report
    assert not exercise(stub).attempted


# --- 8.1


def crops_by(places):
    """A crop function from a function that gives (top, left) for each image."""

    def crop(padded, size):
        count, _, height, width = padded.shape
        tops, lefts = places(count, height - size + 1, width - size + 1)
        return torch.stack(
            [p[:, t : t + size, c : c + size] for p, t, c in zip(padded, tops, lefts, strict=True)]
        )

    return crop


def anywhere(n, rows, columns):
    return [random.randrange(rows) for _ in range(n)], [random.randrange(columns) for _ in range(n)]


def by_unfold(padded, size):
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, rows, columns, size, size)
    n = len(padded)
    top, left = torch.randint(windows.shape[2], (n,)), torch.randint(windows.shape[3], (n,))
    return windows[torch.arange(n), :, top, left]


def one_for_all(n, rows, columns):
    return [random.randrange(rows)] * n, [random.randrange(columns)] * n


def tied(n, rows, columns):
    tops = [random.randrange(min(rows, columns)) for _ in range(n)]
    return tops, tops


def last_place_missing(n, rows, columns):
    return anywhere(n, rows - 1, columns - 1)


def rounded(n, rows, columns):
    return (
        [round(random.random() * (rows - 1)) for _ in range(n)],
        [round(random.random() * (columns - 1)) for _ in range(n)],
    )


def one_number_for_both(n, rows, columns):
    shares = [random.random() for _ in range(n)]
    return [int(share * rows) for share in shares], [int(share * columns) for share in shares]


def by_rand(n, rows, columns):
    return (torch.rand(n) * rows).long().tolist(), (torch.rand(n) * columns).long().tolist()


def each_channel(padded, size):
    n, c, h, w = padded.shape
    return right_crops(padded.reshape(n * c, 1, h, w), size).reshape(n, c, size, size)


def three_channels_only(padded, size):
    return right_crops(padded.expand(-1, 3, -1, -1), size)


def seeded(n, rows, columns):
    chance = random.Random(0)
    return [chance.randrange(rows) for _ in range(n)], [chance.randrange(columns) for _ in range(n)]


def sorted_rows(n, rows, columns):
    tops, lefts = anywhere(n, rows, columns)
    return sorted(tops), lefts


def counted_columns(n, rows, columns):
    first = random.randrange(columns)
    return anywhere(n, rows, columns)[0], [(first + i) % columns for i in range(n)]


def spread_evenly(n, rows, columns):
    """Each place as often as any other in a batch, in random order: each image's is as likely as any."""
    return (torch.randperm(n) % rows).tolist(), (torch.randperm(n) % columns).tolist()


def scribbled(padded, size):
    crops = by_unfold(padded, size).clone()
    padded[0] = 0
    return crops


right_crops = crops_by(anywhere)


@pytest.mark.parametrize("crop", [right_crops, by_unfold, crops_by(by_rand), crops_by(spread_evenly)])
def test_right_crops_pass(crop):
    report = check.random_crops(crop)
    assert report.passed, report


@pytest.mark.parametrize(
    ("crop", "code"),
    [
        (crops_by(one_for_all), "same-crop-for-all"),
        (crops_by(tied), "same-shift-both-ways"),
        (crops_by(rounded), "not-uniform"),
        (crops_by(one_number_for_both), "rows-and-columns-tied"),
        (crops_by(sorted_rows), "tied-to-the-neighbour"),
        (crops_by(counted_columns), "tied-to-the-neighbour"),
        (each_channel, "crop-per-channel"),
        (three_channels_only, "wrong-shape"),
        (lambda p, s: right_crops(p, s).roll(1, 1), "channels-mixed"),
        (lambda p, s: None, "wrong-shape"),
        (crops_by(last_place_missing), "offset-range"),
        (crops_by(seeded), "not-random"),
        (lambda p, s: p[:, :, 2 : 2 + s, 2 : 2 + s], "not-random"),
        (lambda p, s: p, "wrong-shape"),
        (lambda p, s: right_crops(p, s).float(), "wrong-dtype"),
        (lambda p, s: right_crops(p, s).flip(0), "images-mixed"),
        (lambda p, s: right_crops(p, s).transpose(2, 3), "not-a-window"),
        (lambda p, s: right_crops(p, s).flip(3), "not-a-window"),
        (scribbled, "input-modified"),
    ],
)
def test_wrong_crops_are_named(crop, code):
    report = check.random_crops(crop)
    assert not report.passed and first_fault(report) == code, report


# --- 8.2


def smooth_targets(scores, labels, smoothing=0.1):
    classes = scores.shape[1]
    target = F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return -(target * (scores - scores.logsumexp(1, keepdim=True))).sum(1).mean()


def smoothed(label_weight, spread_weight, *, log=lambda s: F.log_softmax(s, 1), reduce=torch.mean):
    def loss(scores, labels, smoothing=0.1):
        log_p = log(scores)
        at_label = log_p[range(len(labels)), labels]
        return -reduce(label_weight(smoothing) * at_label + spread_weight(smoothing) * log_p.mean(1))

    return loss


def others_only(scores, labels, smoothing=0.1):
    classes = scores.shape[1]
    hot = F.one_hot(labels, classes)
    target = hot * (1 - smoothing) + (1 - hot) * smoothing / (classes - 1)
    return -(target * F.log_softmax(scores, 1)).sum(1).mean()


def shifts_the_scores(scores, labels, smoothing=0.1):
    scores.data -= scores.data.amax(1, keepdim=True)
    return smooth_targets(scores, labels, smoothing)


def ten_classes(scores, labels, smoothing=0.1):
    log_p = F.log_softmax(scores, 1)
    return -((1 - smoothing) * log_p[range(len(labels)), labels] + smoothing / 10 * log_p.sum(1)).mean()


KEPT, SHARE = (lambda e: 1 - e), (lambda e: e)


@pytest.mark.parametrize(
    "loss",
    [
        smooth_targets,
        smoothed(KEPT, SHARE),
        lambda s, y, e=0.1: F.cross_entropy(s, F.one_hot(y, s.shape[1]) * (1 - e) + e / s.shape[1]),
        lambda s, y, e=0.1: (1 - e) * F.cross_entropy(s, y) - e * F.log_softmax(s, 1).mean(),
    ],
)
def test_right_smoothed_losses_pass(loss):
    report = check.smoothed_cross_entropy(loss)
    assert report.passed, report


@pytest.mark.parametrize(
    ("loss", "code"),
    [
        (lambda s, y, e=0.1: F.cross_entropy(s, y), "no-smoothing"),
        (others_only, "label-left-out"),
        (shifts_the_scores, "input-modified"),
        (ten_classes, "ten-classes"),
        (lambda s, y, e=0.1: smooth_targets(s, y), "smoothing-ignored"),
        (smoothed(KEPT, lambda e: 0), "share-lost"),
        (lambda s, y, e=0.1: F.cross_entropy(s, y, label_smoothing=e), "used-label-smoothing"),
        (lambda s, y, e=0.1: torch.nn.CrossEntropyLoss(label_smoothing=e)(s, y), "used-label-smoothing"),
        (lambda s, y, e=0.0: smooth_targets(s, y, e), "wrong-default"),
        (lambda s, y, e: smooth_targets(s, y, e), "wrong-signature"),
        (lambda s, y, e=0.1: smooth_targets(s.clamp(-50, 50), y, e), "large-scores"),
        (lambda s, y, e=0.1: smooth_targets(s.detach(), y, e), "no-gradient"),
        (lambda s, y, e=0.1: smooth_targets(s.detach(), y, e) + 0 * s.sum(), "wrong-gradient"),
        (lambda s, y, e=0.1: None, "wrong-type"),
        (lambda s, y, e=0.1: str(smooth_targets(s, y, e)), "wrong-type"),
        (smoothed(lambda e: 1, SHARE), "shares-above-one"),
        (smoothed(KEPT, SHARE, reduce=torch.sum), "sum-over-images"),
        (lambda s, y, e=0.1: -smooth_targets(s, y, e), "wrong-sign"),
        (smoothed(KEPT, SHARE, log=lambda s: s), "softmax-missing"),
        (smoothed(KEPT, SHARE, log=lambda s: s.softmax(1).log()), "overflow"),
        (lambda s, y, e=0.1: smooth_targets(s, y, e).item(), "no-gradient"),
        (lambda s, y, e=0.1: F.cross_entropy(s, y, label_smoothing=e, reduction="none"), "wrong-type"),
    ],
)
def test_wrong_smoothed_losses_are_named(loss, code):
    report = check.smoothed_cross_entropy(loss)
    assert not report.passed and first_fault(report) == code, report


def test_a_right_loss_is_never_said_to_have_been_looked_at_for_a_fault():
    codes = {finding.code for finding in check.smoothed_cross_entropy(smooth_targets).findings}
    assert not codes & {"no-smoothing", "smoothing-ignored", "ten-classes"}


@pytest.mark.parametrize("keepdim", [True, False])
def test_every_image_with_every_label_is_named(keepdim):
    def loss(scores, labels, smoothing=0.1):
        log_p = F.log_softmax(scores, 1)
        return -((1 - smoothing) * log_p[:, labels] + smoothing * log_p.mean(1, keepdim=keepdim)).mean()

    assert first_fault(check.smoothed_cross_entropy(loss)) == "every-pair"


def test_a_sum_in_place_of_the_mean_over_classes_is_named():
    def loss(scores, labels, smoothing=0.1):
        log_p = F.log_softmax(scores, 1)
        return -((1 - smoothing) * log_p[range(len(labels)), labels] + smoothing * log_p.sum(1)).mean()

    assert first_fault(check.smoothed_cross_entropy(loss)) == "sum-over-classes"


# --- 8.3


def cycle(rise, fall):
    return lambda step, steps, rising, peak: (
        peak * rise(step, rising) if step < rising else peak * fall((step - rising) / (steps - rising))
    )


def climb(step, rising):
    return (step + 1) / (rising + 1)


def cosine(p):
    return 0.5 * (1 + math.cos(math.pi * p))


def with_tensors(step, steps, rising, peak):
    up = torch.tensor((step + 1) / (rising + 1), dtype=torch.float64)
    p = torch.tensor(max(step - rising, 0) / (steps - rising), dtype=torch.float64)
    return peak * torch.minimum(up, torch.cos(math.pi / 2 * p) ** 2)


def in_float32(step, steps, rising, peak):
    if step < rising:
        return torch.tensor(peak) * (step + 1) / (rising + 1)
    return torch.tensor(peak) * (1 + torch.cos(torch.tensor(math.pi * (step - rising) / (steps - rising)))) / 2


@pytest.mark.parametrize("rate", [cycle(climb, cosine), with_tensors, in_float32])
def test_right_schedules_pass(rate):
    report = check.one_cycle(rate)
    assert report.passed, report


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        (cycle(lambda s, r: s / r, cosine), "starts-at-zero"),
        (cycle(climb, lambda p: 1 - p), "falls-in-a-line"),
        (cycle(climb, lambda p: math.cos(math.pi / 2 * p)), "wrong-fall"),
        (cycle(climb, lambda p: cosine(p) / 2), "peak-missed"),
        (lambda s, n, r, peak: peak * cosine(s / n), "peak-missed"),
        (cycle(lambda s, r: ((s + 1) / (r + 1)) ** 2, cosine), "wrong-rise"),
        (cycle(climb, lambda p: (1 + math.cos(math.radians(p))) / 2), "wrong-fall"),
        (lambda s, n, r, peak: [peak], "wrong-type"),
        (lambda s, n, r, peak: peak * climb(s, r) if s < r else None, "wrong-type"),
        (lambda s, n, r, peak: peak * cosine((s - r) / (n - r)) if s >= r else None, "wrong-type"),
        (lambda s, n, r, peak: str(peak), "wrong-type"),
        (cycle(climb, lambda p: cosine(p * 0.999)), "wrong-fall"),
        (lambda s, n, r, peak: cycle(climb, cosine)(s, n, r, 0.2), "peak-ignored"),
        (lambda s, n, r, peak: cycle(climb, cosine)(s, n - (s >= r), r, peak), "ends-at-zero"),
        (lambda s, n, r, peak: cycle(climb, cosine)(s, n, r, peak) if s < n - 1 else 0.0, "ends-at-zero"),
        (lambda s, n, r, peak: cycle(climb, cosine)(s, n, r, peak) + 0 / r, "raised"),
    ],
)
def test_wrong_schedules_are_named(rate, code):
    report = check.one_cycle(rate)
    assert not report.passed and first_fault(report) == code, report


def test_an_exception_comes_with_the_call_that_raised_it():
    report = check.one_cycle(lambda s, n, r, peak: cycle(climb, cosine)(s, n, r, peak) + 0 / r)
    assert "one_cycle(0, 12, 0, 0.1) was called" in str(report)


# --- 8.4


def steps(*, mode=True, clear="before", backward=True, step=True, loss=F.cross_entropy,
          give=lambda loss: loss.item()):
    def one(model, optimizer, images, labels):
        if mode:
            model.train()
        value = loss(model(images), labels)
        if clear == "before":
            optimizer.zero_grad()
        if backward:
            value.backward()
        if step:
            optimizer.step()
        if clear == "after":
            optimizer.zero_grad(set_to_none=False)
        return give(value)

    return one


def by_hand(model, optimizer, images, labels):
    model.train(True)
    for p in model.parameters():
        p.grad = None
    loss = -F.log_softmax(model(images), 1)[range(len(labels)), labels].mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def its_own_optimizer(model, optimizer, images, labels):
    return steps()(model, torch.optim.SGD(model.parameters(), lr=0.1), images, labels)


def counts_the_right_ones(model, optimizer, images, labels):
    loss = steps()(model, optimizer, images, labels)
    (model(images).argmax(1) == labels).float().mean()
    return loss


def counts_on_a_copy(model, optimizer, images, labels):
    counts_the_right_ones(copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0), images, labels)
    return steps()(model, optimizer, images, labels)


def loss_after(model, optimizer, images, labels):
    steps()(model, optimizer, images, labels)
    return F.cross_entropy(model(images), labels).item()


@pytest.mark.parametrize("step", [by_hand, steps(), counts_on_a_copy])
def test_right_steps_pass(step):
    report = check.train_step(step)
    assert report.passed, report


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (steps(clear="never"), "gradients-accumulate"),
        (steps(clear="after"), "gradients-accumulate"),
        (its_own_optimizer, "other-optimizer"),
        (loss_after, "loss-after-step"),
        (counts_the_right_ones, "runs-twice"),
        (steps(give=lambda loss: str(loss.item())), "wrong-type"),
        (steps(mode=False), "eval-mode"),
        (steps(backward=False), "no-step"),
        (steps(step=False), "no-step"),
        (steps(give=lambda loss: loss), "loss-keeps-graph"),
        (steps(give=lambda loss: None), "wrong-type"),
        (steps(give=lambda loss: loss.item() * 6), "wrong-loss"),
        (steps(loss=lambda s, y: F.cross_entropy(s.softmax(1), y)), "softmax-twice"),
        (steps(loss=lambda s, y: F.cross_entropy(s, y, reduction="sum")), "sum-not-mean"),
        (steps(loss=lambda s, y: F.cross_entropy(s, y) * 2), "wrong-update"),
    ],
)
def test_wrong_steps_are_named(step, code):
    report = check.train_step(step)
    assert not report.passed and first_fault(report) == code, report


# --- 8.5


def measure(*, evaluate=True, grad=False, restore="before", last=True, size=None,
            result=lambda wrong, sizes: 100 * sum(wrong) / sum(sizes)):  # fmt: skip
    def error(model, images, labels, batch_size=500):
        was = model.training
        if evaluate:
            model.eval()
        wrong, sizes = [], []
        with torch.set_grad_enabled(grad):
            for x, y in zip(
                images.split(size or batch_size), labels.split(size or batch_size), strict=True
            ):
                if last or len(x) == batch_size:
                    wrong.append((model(x).argmax(1) != y).sum().item())
                    sizes.append(len(x))
        if restore != "never":
            model.train(was if restore == "before" else True)
        return result(wrong, sizes)

    return error


@torch.inference_mode()
def with_cat(model, images, labels, batch_size=500):
    was = model.training
    model.train(False)
    answers = torch.cat([model(batch).argmax(1) for batch in images.split(batch_size)])
    model.train(was)
    return (answers != labels).double().mean() * 100


def mean_of_batches(wrong, sizes):
    return 100 * sum(w / n for w, n in zip(wrong, sizes, strict=True)) / len(sizes)


def on_a_copy(model, images, labels, batch_size=500):
    return measure(restore="never")(copy.deepcopy(model), images, labels, batch_size)


def only_the_outermost(model, images, labels, batch_size=500):
    was = model.training
    error = measure(restore="never")(model, images, labels, batch_size)
    model.training = was
    return error


def no_gradients_ever_after(model, images, labels, batch_size=500):
    torch.set_grad_enabled(False)
    return measure()(model, images, labels, batch_size)


def without_a_last_single_image(model, images, labels, batch_size=500):
    kept = len(images) - (len(images) % batch_size == 1)
    return measure()(model, images[:kept], labels[:kept], batch_size)


def not_split(model, images, labels, batch_size=2000):
    return measure()(model, images, labels, batch_size)


@pytest.mark.parametrize("error", [with_cat, measure(), on_a_copy])
def test_right_measurements_pass(error):
    report = check.error_percent(error)
    assert report.passed, report


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (measure(evaluate=False), "train-mode"),
        (measure(grad=True), "gradients-recorded"),
        (measure(restore="never"), "mode-not-restored"),
        (only_the_outermost, "mode-not-restored"),
        (no_gradients_ever_after, "gradients-left-off"),
        (not_split, "wrong-default"),
        (lambda *a: round(measure()(*a), 1), "rounded"),
        (lambda *a: None, "wrong-type"),
        (lambda *a: f"{measure()(*a):.1f} %", "wrong-type"),
        (measure(restore="train"), "mode-not-restored"),
        (measure(last=False), "images-missed"),
        (without_a_last_single_image, "images-missed"),
        (measure(size=23), "batch-too-large"),
        (measure(result=mean_of_batches), "batches-equal"),
        (measure(result=lambda w, n: sum(w) / sum(n)), "share-not-percent"),
        (measure(result=lambda w, n: 100 - 100 * sum(w) / sum(n)), "accuracy"),
        (measure(result=lambda w, n: 100 * sum(w) / (10 * len(n))), "full-batches-assumed"),
        (measure(result=lambda w, n: w), "wrong-type"),
        (lambda m, x, y, b=500: 50.0, "network-unused"),
    ],
)
def test_wrong_measurements_are_named(error, code):
    report = check.error_percent(error)
    assert not report.passed and first_fault(report) == code, report
