"""Chapter 9's checks: right answers in several styles pass, wrong ones are named."""

import math
import statistics

import numpy as np
import pytest
import torch

from resnet_tutorial import check
from resnet_tutorial.solutions import chapter09 as solutions


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def with_statistics(values):
    if len(values) < 2:
        raise ValueError("too few")
    return statistics.mean(values), statistics.stdev(values)


def in_torch(values):
    if len(values) < 2:
        raise ValueError("too few")
    return torch.tensor([torch.tensor(values).mean(), torch.tensor(values).std()])


def sorts_first(values):
    values.sort()
    return with_statistics(values)


def refuses(wrong):
    """The right pair, and for too few values what is ``wrong``."""
    return lambda values: with_statistics(values) if len(values) > 1 else wrong(values)


def stands(*, spread=statistics.stdev, compare=lambda d, limit: d > limit, default=2.0, also=lambda b: None):
    def stands_out(value, baseline, factor=default):
        answer = compare(abs(value - statistics.mean(baseline)), factor * spread(baseline))
        also(baseline)
        return answer

    return stands_out


def by_division(value, baseline, factor=2.0):
    return abs(value - statistics.mean(baseline)) / statistics.stdev(baseline) > factor


def enters_dictionaries(first, second, prefix=""):
    found, nothing = [], object()
    for name in first.keys() | second.keys():
        a, b = first.get(name, nothing), second.get(name, nothing)
        if isinstance(a, dict):
            found += enters_dictionaries(a, b, prefix + name + ".")
        elif a != b:
            found.append(prefix + name)
    return sorted(found)


def enters_at_the_top(first, second):
    nothing, found = object(), []
    for name in first.keys() | second.keys():
        a, b = first.get(name, nothing), second.get(name, nothing)
        if isinstance(a, dict):
            found += [f"{name}.{each}" for each in solutions.changed_choices(a, b)]
        elif a != b:
            found.append(name)
    return sorted(found)


def by_text(first, second):
    a, b = flat(first), flat(second)
    return sorted(n for n in a.keys() | b.keys() if str(a.get(n, "missing")) != str(b.get(n, "missing")))


def by_identity(first, second):
    a, b = flat(first), flat(second)
    return sorted(n for n in a.keys() | b.keys() if a.get(n) is not b.get(n))


def comparing(equal, missing=object()):  # noqa: B008
    """The names of entries that ``equal`` does not find equal; ``missing`` stands for what is not there."""

    def changed(first, second):
        a, b = flat(first), flat(second)
        return sorted(n for n in a.keys() | b.keys() if not equal(a.get(n, missing), b.get(n, missing)))

    return changed


def nearly(one, other):
    both = isinstance(one, float) and isinstance(other, float)
    return math.isclose(one, other, rel_tol=1e-2) if both else one == other


def keeps_its_list(first, second, found=[]):  # noqa: B006
    found += solutions.changed_choices(first, second)
    return sorted(found)


def inner_last(first, second):
    return sorted(solutions.changed_choices(first, second), key=lambda name: name.count("."))


def starting_at(best):
    def lowest(val, test):
        low, chosen = best, None
        for v, t in zip(val, test, strict=True):
            if v < low:
                low, chosen = v, t
        return chosen

    return lowest


def among(choose):
    """The test error of the epoch that is best among those whose numbers ``choose`` gives."""
    return lambda val, test: test[min(choose(range(len(val))) or [0], key=lambda epoch: val[epoch])]


def with_the_value(v, b, factor=2.0):
    return abs(v - statistics.mean([*b, v])) > factor * statistics.stdev([*b, v])


def sorts_the_curve(val, test):
    val.sort()
    return test[0]


def flat(settings, prefix=""):
    entries = {}
    for name, value in settings.items():
        entries |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return entries


def by_flattening(first, second):
    a, b, nothing = flat(first), flat(second), object()
    return sorted(n for n in a.keys() | b.keys() if a.get(n, nothing) != b.get(n, nothing))


def by_zip(val, test):
    return min(zip(val, range(len(val)), test, strict=True))[2]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("mean_and_spread", with_statistics),
        ("mean_and_spread", in_torch),
        ("mean_and_spread", refuses(statistics.stdev)),
        ("stands_out", stands()),
        ("stands_out", stands(compare=lambda d, limit: torch.tensor(d) > limit)),
        ("stands_out", lambda v, b, factor=2.0: np.abs(v - np.mean(b)) > factor * np.std(b, ddof=1)),
        ("changed_choices", solutions.changed_choices),
        ("changed_choices", lambda a, b: tuple(by_flattening(a, b))),
        ("honest_error", lambda val, test: np.array(test)[np.argmin(val)]),
        ("honest_error", lambda val, test: torch.tensor(test)[torch.tensor(val).argmin()]),
        ("stands_out", lambda v, b, factor=2.0: (v - statistics.mean(b)) ** 2 > factor**2 * statistics.variance(b)),
        ("changed_choices", by_flattening),
        ("honest_error", by_zip),
        ("honest_error", starting_at(float("inf"))),
        ("changed_choices", comparing(lambda one, other: one == other)),
    ],
)
def test_right_answers_in_another_style_pass(name, answer):
    report = getattr(check, name)(answer)
    assert report.passed, report


WRONG = [
    ("mean_and_spread", lambda v: (statistics.mean(v), statistics.pstdev(v)), "population-spread"),
    ("mean_and_spread", lambda v: (statistics.mean(v), statistics.variance(v)), "variance"),
    ("mean_and_spread", lambda v: (statistics.median_low(v), statistics.stdev(v)), "wrong-mean"),
    ("mean_and_spread", lambda v: (sum(v) / len(v), statistics.stdev(v) if len(v) > 1 else 0.0), "accepts-one-value"),
    ("stands_out", lambda v, b, factor=2.0: v - statistics.mean(b) > factor * statistics.stdev(b), "one-sided"),
    ("stands_out", lambda v, b, factor=2.0: abs(v - statistics.mean(b)) > 2 * statistics.stdev(b), "factor-ignored"),
    ("mean_and_spread", sorts_first, "input-modified"),
    ("mean_and_spread", lambda v: with_statistics(v)[::-1], "swapped"),
    ("mean_and_spread", lambda v: [str(each) for each in with_statistics(v)], "wrong-type"),
    ("mean_and_spread", lambda v: print(with_statistics(v)), "wrong-type"),
    ("mean_and_spread", lambda v: (round(with_statistics(v)[0], 2), with_statistics(v)[1]), "wrong-mean"),
    ("mean_and_spread", lambda v: (with_statistics(v)[0], with_statistics(v)[1] / len(v) ** 0.5), "standard-error"),
    ("mean_and_spread", refuses(lambda v: (v[0], 0 / 0)), "wrong-error"),
    ("mean_and_spread", refuses(lambda v: (v[0], 0) if v else with_statistics(v)), "accepts-one-value"),
    ("mean_and_spread", refuses(lambda v: with_statistics(v) if v else (0, 0)), "accepts-no-value"),
    ("stands_out", stands(spread=statistics.pstdev), "population-spread"),
    ("stands_out", stands(spread=statistics.variance), "variance"),
    ("stands_out", stands(compare=lambda d, limit: d >= limit), "counts-the-border"),
    ("stands_out", stands(compare=lambda d, limit: d <= limit), "turned-round"),
    ("stands_out", stands(compare=lambda d, limit: True if d > limit else None), "wrong-type"),
    ("stands_out", stands(compare=lambda d, limit: d / limit), "wrong-type"),
    ("stands_out", stands(default=1.0), "wrong-default"),
    ("stands_out", stands(default=3.0), "wrong-default"),
    ("stands_out", stands(also=lambda b: b.append(0.0)), "input-modified"),
    ("stands_out", stands(also=lambda b: b.sort(reverse=True)), "input-modified"),
    ("stands_out", by_division, "divides-by-zero"),
    ("stands_out", stands(spread=lambda b: statistics.stdev(b) / len(b) ** 0.5), "standard-error"),
    ("stands_out", with_the_value, "value-in-the-baseline"),
    ("stands_out", lambda v, b, factor=2.0: abs(v - statistics.median(b)) > factor * statistics.stdev(b), "median"),
    ("stands_out", stands(compare=lambda d, limit: round(d, 1) > round(limit, 1)), "rounded"),
    ("mean_and_spread", lambda v: with_statistics(v if len(v) > 2 else []), "raised"),
    ("changed_choices", comparing(lambda one, other: (one or None) == (other or None)), "zero-is-not-none"),
    ("changed_choices", comparing(lambda one, other: one == other, ""), "missing-entry"),
    ("changed_choices", comparing(nearly), "nearly-equal"),
    ("changed_choices", keeps_its_list, "kept-from-last-call"),
    ("changed_choices", inner_last, "not-sorted"),
    ("honest_error", starting_at(10.0), "large-errors"),
    ("honest_error", lambda val, test: min(zip(val, test, strict=True))[1], "later-of-equals"),
    ("honest_error", starting_at(100.0), "large-errors"),
    ("honest_error", lambda val, test: among(list)([round(v, 1) for v in val], test), "rounded"),
    ("honest_error", among(lambda epochs: epochs[:-1]), "last-epoch-skipped"),
    ("honest_error", among(lambda epochs: epochs[1:]), "first-epoch-skipped"),
    ("changed_choices", enters_dictionaries, "dictionary-or-not"),
    ("changed_choices", enters_at_the_top, "dictionary-or-not"),
    ("changed_choices", by_text, "compared-as-text"),
    ("changed_choices", by_identity, "finds-too-much"),
    ("changed_choices", lambda a, b: ", ".join(by_flattening(a, b)), "wrong-type"),
    ("changed_choices", lambda a, b: print(by_flattening(a, b)), "wrong-type"),
    ("honest_error", sorts_the_curve, "input-modified"),
    ("honest_error", lambda val, test: str(by_zip(val, test)), "wrong-type"),
    ("honest_error", lambda val, test: val.index(min(val)), "epoch-returned"),
    ("stands_out", lambda v, b, factor=2.0: v > max(b) or v < min(b), "wrong-answer"),
    ("changed_choices", lambda a, b: sorted(n for n in a if a[n] != b.get(n)), "nested-missed"),
    ("changed_choices", lambda a, b: sorted(n for n in flat(a) if flat(a)[n] != flat(b).get(n)), "missing-entry"),
    ("changed_choices", lambda a, b: sorted(flat(a)), "finds-too-much"),
    ("changed_choices", lambda a, b: by_flattening(a, b)[::-1], "not-sorted"),
    ("honest_error", lambda val, test: min(test), "chosen-on-test"),
    ("honest_error", lambda val, test: min(val), "validation-error-returned"),
    ("honest_error", lambda val, test: test[-1], "last-epoch"),
    ("honest_error", lambda val, test: test[len(val) - 1 - val[::-1].index(min(val))], "later-of-equals"),
]


@pytest.mark.parametrize(("name", "answer", "code"), WRONG)
def test_wrong_answers_are_named(name, answer, code):
    for _ in range(3):  # the checks draw random numbers
        report = getattr(check, name)(answer)
        assert not report.passed and first_fault(report) == code, report


def test_the_refusal_of_too_few_values_has_one_tick():
    assert check.mean_and_spread(with_statistics).holds().count("fewer than two values are refused") == 1


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["mean_and_spread", "stands_out", "changed_choices", "honest_error"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted


def test_the_spread_is_that_of_the_statistics_module():
    values = [6.2, 7.1, 6.6, 6.9]
    assert solutions.mean_and_spread(values)[1] == pytest.approx(statistics.stdev(values))
