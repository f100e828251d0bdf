"""Exercise 8.6: how the errors were measured, and what was returned."""

from __future__ import annotations

import math
from itertools import accumulate

from torch import Tensor

from ..common import described, number, sequence, unlike
from ..core import Expectations
from .loop_probe import Look, Run, Setting


def measures(seen: Run, expect: Expectations) -> bool:
    """Expect the error on the plain validation images after each epoch, and nothing else done with them."""
    looks = [look for look in seen.log.looks if look.pull is None]
    own = [look for look in looks if look.val.any()]
    return (
        _measures_on_the_right_images(looks, own, expect)
        and _measures_as_asked(own, expect)
        and _returns_a_list(seen, expect)
        and _returns_the_errors(seen, own, expect)
        and expect(
            not seen.exchanged, "weights-exchanged",
            "After the call the network has other weights than after the last step.",
            hint="Return the errors, and leave the network as the last step has made it.",
        )
    )  # fmt: skip


def _measures_on_the_right_images(looks: list[Look], own: list[Look], expect: Expectations) -> bool:
    if not own:
        code = "measured-on-training-images" if looks else "not-measured"
        words = f"it was measured on training images, in {len(looks)} calls" if looks else "nothing was measured"
        return expect(
            False, code, f"The network never saw the validation images: {words}.",
            hint="After each epoch: error_percent(model, val_images, val_labels).",
        )
    changed = sum(int((look.times > 0).sum()) for look in own)
    total = sum(len(look.numbers) for look in own)
    return expect(
        not changed, "val-images-augmented",
        f"Of {total} validation images that the network was shown, {changed} had been augmented.",
        hint="augment is for training batches: the error belongs to the images as they are.",
    ) and expect(
        all(look.known for look in own), "val-images-changed",
        "The network was measured on pixels that are not those of val_images.",
        hint="The images are normalised already: error_percent gets val_images as they are.",
    )  # fmt: skip


def _measures_as_asked(own: list[Look], expect: Expectations) -> bool:
    training = sum(any(look.modes) for look in own)
    recording = sum(look.recording for look in own)
    return expect(
        not training, "measured-in-train-mode",
        f"In {training} of {len(own)} calls with validation images the network was in training mode.",
        hint="model.eval() before measuring, as error_percent does.",
    ) and expect(
        not recording, "gradients-recorded",
        f"In {recording} of {len(own)} calls with validation images gradients were recorded.",
        hint="Measure under torch.no_grad(), as error_percent does.",
    )  # fmt: skip


def _returns_a_list(seen: Run, expect: Expectations) -> bool:
    """Look at the type and the length of what was returned."""
    result, epochs = seen.result, seen.setting.epochs
    values = None if isinstance(result, Tensor) else sequence(result)
    if values is None:
        code = "nothing-returned" if result is None else "wrong-type"
        words, hint = "", "errors.append(...) after each epoch, and return errors at the end."
        one = None if isinstance(result, Tensor) else number(result)
        if one is not None:
            code = "one-number"
            if _close(one, min(_right(seen.setting))):
                words = " It is the smallest error of the run: a choice, and too good on average."
        return expect(
            False, code, f"It returned {described(result)}, not a list of {epochs} errors.{words}", hint=hint
        )
    tensors = sum(isinstance(value, Tensor) for value in values)
    if not expect(
        not tensors, "tensors-returned", f"Of the {len(values)} errors returned {tensors} are tensors.",
        hint="value.item() is a number.",
    ):
        return False
    odd = next((value for value in values if number(value) is None), 0.0)
    if not expect(
        number(odd) is not None, "wrong-type", f"The list holds {described(odd)} among the errors.",
        hint="One number for each epoch.",
    ):
        return False
    return expect(
        len(values) == epochs, "measured-once" if len(values) == 1 else "wrong-length",
        f"{len(values)} {'error was' if len(values) == 1 else 'errors were'} returned after {epochs} epochs.",
        hint="Measure inside the loop over epochs, after the loop over batches: one error for each epoch.",
    )


def _right(setting: Setting) -> list[float]:
    return [100 * wrong / setting.val_count for wrong in setting.wrong[1:]]


def _returns_the_errors(seen: Run, own: list[Look], expect: Expectations) -> bool:
    values = [float(value) for value in seen.result]
    right = _right(seen.setting)
    wrong_ones = [k for k, pair in enumerate(zip(values, right, strict=True)) if not _close(*pair)]
    if not wrong_ones:
        return expect(True, "wrong-value", "")
    place = wrong_ones[0]
    code, hint = _explained(values, right, seen, own)
    got, wanted = unlike(values[place], right[place])
    wrong = seen.setting.wrong[place + 1]
    return expect(
        False, code,
        f"After epoch {place + 1} the network gets {wrong} of {seen.setting.val_count} validation images wrong, "
        f"{wanted} %; the list says {got}.",
        hint=hint,
    )


def _explained(values: list[float], right: list[float], seen: Run, own: list[Look]) -> tuple[str, str]:
    """Return code and hint for a list of errors: the known wrong ones first, then what was not looked at."""
    setting = seen.setting
    count = setting.val_count
    before = [100 * wrong / count for wrong in setting.wrong[:-1]]
    ends = range(setting.per_epoch, setting.steps + 1, setting.per_epoch)
    batches = [_mean_over_batches([look for look in own if look.step == end], setting) for end in ends]
    known = {
        "accuracy": ([100 - e for e in right], "Count the wrong images, not the right ones."),
        "share-not-percent": ([e / 100 for e in right], "Multiply by 100."),
        "count-not-percent": ([float(wrong) for wrong in setting.wrong[1:]], "Divide by the number of images."),
        "measured-before-epoch": (before, "Measure after the epoch's last step, not before its first."),
        "batches-equal": (batches, "A short batch counts less: add up the wrong images, and divide once."),
        "best-epoch-chosen": (list(accumulate(right, min)), "Return each epoch's own error: choose nothing by it."),
        "measured-once": ([right[-1]] * len(right), "Measure after each epoch, inside the loop."),
        "rounded": ([float(round(e, 2)) for e in right], "Return the numbers as they are; whoever prints them rounds."),
    }
    for code, (wrong, hint) in known.items():
        if all(map(_close, values, wrong)):
            return code, hint
    if sorted(values) == sorted(right):
        return "wrong-order", "The errors stand in the list in the order of the epochs."
    if all(abs(a - b) <= 0.5 for a, b in zip(values, right, strict=True)):
        return "rounded", known["rounded"][1]
    for end in ends:
        shown = {n for look in own if look.step == end for n in look.numbers[look.val].tolist()}
        if 0 < len(shown) < count:
            return "val-images-missed", f"Only {len(shown)} of {count} validation images were looked at."
        if not shown:
            return "measured-at-another-time", f"Measure after the epoch's last step, here after {end} steps."
    return "wrong-value", "100 * wrong / len(val_images), over all validation images; error_percent does that."


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9)


def _mean_over_batches(looks: list[Look], setting: Setting) -> float:
    """Return the mean of the batches' errors, in per cent; no number where an image was left out."""
    if len({n for look in looks for n in look.numbers[look.val].tolist()}) < setting.val_count:
        return math.nan
    errors = []
    for look in looks:
        numbers = look.numbers[look.val]
        wrong = look.scores[look.val].argmax(1) != setting.label_of(numbers)
        errors.append(float(wrong.float().mean()))
    return 100 * sum(errors) / len(errors)
