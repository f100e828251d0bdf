"""The page for teachers speaks of exercises that there are, and its minutes are those of the chapters."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from conftest import ROOT

from resnet_tutorial.check.core import catalog

PAGE = (ROOT / "book" / "teachers.md").read_text(encoding="utf-8")
MINUTES = {f"{entry.chapter}.{entry.number}": entry.minutes for entry in catalog().values()}
TIMES = {
    int(path.name[:2]): int(re.search(r"^Time: about (\d+) minutes", path.read_text(encoding="utf-8"), re.M)[1])
    for path in sorted((ROOT / "book").glob("[01][0-9]_*.md"))
}
CHAPTERS = set(TIMES)


def section(title: str) -> str:
    """What stands under a heading, up to the next of its rank or above."""
    rank, rest = re.search(rf"^(#+) {re.escape(title)}\n(.*)", PAGE, re.M | re.S).groups()
    return re.split(rf"^#{{1,{len(rank)}}} ", rest, maxsplit=1, flags=re.M)[0]


def numbers(text: str) -> list[str]:
    """The exercises that a text names, such as 4.2; versions of a network and decimals in a sentence are none."""
    lists = re.findall(r"\((\d+\.\d[^()]*)\)|[Ee]xercises? (\d+\.\d+(?:(?:, | and | to )\d+\.\d+)*)", text)
    return [number for both in lists for number in re.findall(r"\d+\.\d+", " ".join(both))]


def text_of(chapter: int) -> int:
    """Minutes of a chapter without its exercises."""
    return TIMES[chapter] - sum(minutes for number, minutes in MINUTES.items() if number.split(".")[0] == str(chapter))


def items(text: str) -> list[tuple[str, int, bool]]:
    """The lines of a plan: what, minutes, and whether it belongs to no chapter."""
    return [
        (what, int(minutes), bool(extra))
        for what, minutes, extra in re.findall(r"^- (.+?) (\d+) min( \(extra\))?$", text, re.M)
    ]


def test_every_exercise_that_is_named_exists():
    assert set(numbers(PAGE)) <= set(MINUTES)


def test_every_exercise_shows_one_goal_of_its_own_chapter():
    goals = re.split(r"^### Chapter (\d+): ", section("What learners can do afterwards"), flags=re.M)[1:]
    assert {int(chapter) for chapter in goals[::2]} == CHAPTERS
    for chapter, text in zip(goals[::2], goals[1::2], strict=True):
        own = [number for number in MINUTES if number.split(".")[0] == chapter]
        assert Counter(numbers(text)) == Counter(own), f"chapter {chapter}"


def test_a_chapter_needs_only_earlier_ones():
    lines = dict(re.findall(r"^- \*\*(\d+)\*\* (.+)$", section("What each chapter needs"), re.M))
    assert set(map(int, lines)) == CHAPTERS
    for chapter, needs in lines.items():
        assert all(int(each) < int(chapter) for each in re.findall(r"\d+", needs)), f"chapter {chapter}"


def test_every_belief_has_an_exercise_and_an_answer():
    beliefs = re.findall(r"^- \*.+?\* \((.+?)\)\n  (.+)$", section("What each exercise exposes"), re.M)
    assert len(beliefs) == section("What each exercise exposes").count("\n- ") >= 25
    for exercises, answer in beliefs:
        assert re.fullmatch(r"\d+\.\d+(, \d+\.\d+)*", exercises) and len(answer.split()) >= 5


def own_minutes(what: str) -> int:
    """Minutes of a line of a plan by the chapters and the registry."""
    if named := re.match(r"Exercises? ([\d., ]*\d)", what):
        return sum(MINUTES[number] for number in re.findall(r"\d+\.\d+", named[1]))
    return text_of(int(re.match(r"Chapter (\d+), text", what)[1]))


PLANS = [
    *re.findall(r"^#### (Week \d): .*?\n(.*?)(?=^#|\Z)", section("Four weeks"), re.M | re.S),
    *re.findall(r"^#### (\d+:\d\d to \d+:\d\d)\n(.*?)(?=^#|\Z)", section("One day"), re.M | re.S),
]


@pytest.mark.parametrize(("name", "plan"), PLANS, ids=[name for name, _ in PLANS])
def test_the_minutes_of_a_plan_are_those_of_chapters_and_exercises(name, plan):
    assert len(items(plan)) == plan.count("\n- ") > 0
    for what, minutes, extra in items(plan):
        assert extra or minutes == own_minutes(what), what


def test_every_meeting_and_every_part_of_the_day_has_its_length():
    assert len(PLANS) == 8
    for name, plan in PLANS:
        if name.startswith("Week"):
            length = 120
        else:
            (hour, minute), (end_hour, end_minute) = (map(int, time.split(":")) for time in name.split(" to "))
            length = 60 * (end_hour - hour) + end_minute - minute
        assert sum(minutes for _, minutes, _ in items(plan.split("At home:")[0])) == length, name


@pytest.mark.parametrize("week", ["1", "2", "3", "4"])
def test_a_week_has_all_of_its_chapters_once(week):
    pattern = rf"^#### Week {week}: chapters (.+?)\n(.*?)(?=^#|\Z)"
    title, plan = re.search(pattern, section("Four weeks"), re.M | re.S).groups()
    chapters = set(map(int, re.findall(r"\d+", title)))
    texts = Counter(int(each) for each in re.findall(r"^- Chapter (\d+), text", plan, re.M))
    assert texts == Counter(chapters)
    exercises = " ".join(what for what, _, _ in items(plan) if what.startswith("Exercise"))
    named = re.findall(r"\d+\.\d+", exercises)
    assert Counter(named) == Counter(number for number in MINUTES if int(number.split(".")[0]) in chapters)
    home = sum(minutes for _, minutes, _ in items(plan.split("At home:")[1]))
    assert 105 <= home <= 195, "about two to three hours at home"
