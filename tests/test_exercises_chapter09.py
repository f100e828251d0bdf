"""Chapter 9's checks: right answers in several styles pass, wrong ones are named."""

import statistics

import pytest

from resnet_tutorial import check
from resnet_tutorial.solutions import chapter09 as solutions


def first_fault(report):
    return next((f.code for f in report.findings if not f.ok), None)


def with_statistics(values):
    if len(values) < 2:
        raise ValueError("too few")
    return statistics.mean(values), statistics.stdev(values)


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
        ("stands_out", lambda v, b, factor=2.0: (v - statistics.mean(b)) ** 2 > factor**2 * statistics.variance(b)),
        ("changed_choices", by_flattening),
        ("honest_error", by_zip),
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
    codes = set()
    for _ in range(5):  # the checks draw random numbers: two curves may share their best epoch
        report = getattr(check, name)(answer)
        assert not report.passed, report
        codes.add(first_fault(report))
    assert code in codes, codes


def blank(*args, **kwargs):
    # YOUR CODE HERE
    raise NotImplementedError()


@pytest.mark.parametrize("name", ["mean_and_spread", "stands_out", "changed_choices", "honest_error"])
def test_blanks_are_not_attempted(name):
    assert not getattr(check, name)(blank).attempted


def test_the_spread_is_that_of_the_statistics_module():
    values = [6.2, 7.1, 6.6, 6.9]
    assert solutions.mean_and_spread(values)[1] == pytest.approx(statistics.stdev(values))
