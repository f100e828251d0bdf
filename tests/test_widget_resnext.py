"""The ResNeXt explorer: its counts are the package's, and every control does what it says."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
import torch
from torch import nn
from traitlets import TraitError
from widget_help import rules, settle, shown, too_wide, violations

from resnet_tutorial import EarlyConcatenation, SplitTransformMerge
from resnet_tutorial.blocks import Bottleneck
from resnet_tutorial.shapes import bottleneck_width, conv_macs, conv_params
from resnet_tutorial.solutions.chapter07 import equal_cost_width
from resnet_tutorial.widgets import ResNeXtExplorer

CARDINALITIES = (1, 2, 4, 8, 16, 32, 64)
SIDES = {256: 56, 512: 28, 1024: 14, 2048: 7}
SETTINGS = [(c, d, channels) for c in CARDINALITIES for d in range(1, 65) for channels in SIDES]
LAYERS = ("1×1 reduce", "3×3", "1×1 expand")


@cache
def numbers(cardinality: int, width: int, channels: int) -> dict[str, int]:
    """Return what the page's table must say of a block, by the package's arithmetic."""
    middle, side = bottleneck_width(channels // 4, cardinality, width), SIDES[channels]
    layers = (channels, middle, 1, 1), (middle, middle, 3, cardinality), (middle, channels, 1, 1)
    found = {name: conv_params(*layer) for name, layer in zip(LAYERS, layers, strict=True)}
    found["convolutions"] = sum(found.values())
    found["batch norms"] = 2 * (middle + middle + channels)
    found["whole block"] = found["convolutions"] + found["batch norms"]
    found["MACs"] = sum(conv_macs(*layer[:3], side, groups=layer[3]) for layer in layers)
    return found


def nearest_width(cardinality: int, channels: int, what: str) -> int:
    plain = numbers(1, 64, channels)[what]
    return min(range(1, 65), key=lambda width: abs(numbers(cardinality, width, channels)[what] - plain))


# --- arithmetic ---


def as_script(settings) -> list[dict]:
    return [dict(zip(("cardinality", "width", "channels"), setting, strict=True)) for setting in settings]


def test_counts_are_those_of_the_package(chromium):
    names = "reduce", "transform", "expand", "convolutions", "norms", "parameters", "macs"
    found = rules(chromium, "resnext_rules", "x.map((s) => [counts(s), sizes(s)])", as_script(SETTINGS))
    assert len(found) == 1792
    for setting, (count, size) in zip(SETTINGS, found, strict=True):
        assert [count[name] for name in names] == list(numbers(*setting).values()), setting
        assert size["middle"] == size["group"] * setting[0]
        assert size["side"] == SIDES[setting[2]]


def test_counts_are_those_of_the_real_blocks(chromium):
    settings = random.Random(0).sample(SETTINGS, 150)
    found = rules(chromium, "resnext_rules", "x.map(counts)", as_script(settings))
    for (cardinality, width, channels), count in zip(settings, found, strict=True):
        with torch.device("meta"):
            block = Bottleneck(channels, channels // 4, groups=cardinality, base_width=width)
        assert count["parameters"] == sum(p.numel() for p in block.parameters())
        convolutions = [block.conv1, block.conv2, block.conv3]
        assert [count[name] for name in ("reduce", "transform", "expand")] == [c.weight.numel() for c in convolutions]


def test_all_forms_have_these_numbers(chromium):
    forms = {"a": SplitTransformMerge, "b": EarlyConcatenation, "c": Bottleneck}
    for cardinality, width, channels in ((2, 40, 256), (8, 14, 512), (32, 4, 2048)):
        setting = {"cardinality": cardinality, "width": width, "channels": channels}
        for form, make in forms.items():
            with torch.device("meta"):
                block = make(channels, channels // 4, groups=cardinality, base_width=width)
            found = rules(chromium, "resnext_rules", "[counts(x).parameters, calls(x)]", {**setting, "form": form})
            layers = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
            assert found == [sum(p.numel() for p in block.parameters()), len(layers)]


def test_the_width_that_keeps_the_cost(chromium):
    cases = [(c, channels, keep) for c in CARDINALITIES for channels in SIDES for keep in ("parameters", "macs")]
    script = [{"cardinality": c, "channels": channels, "keep": keep} for c, channels, keep in cases]
    found = dict(zip(cases, rules(chromium, "resnext_rules", "x.map(equalWidth)", script), strict=True))
    for (cardinality, channels, keep), width in found.items():
        what = "convolutions" if keep == "parameters" else "MACs"
        assert width == nearest_width(cardinality, channels, what)
        if channels == 256:
            assert width == equal_cost_width(cardinality)  # exercise 7.5
    of_the_paper = {c: found[c, 256, "parameters"] for c in (1, 2, 4, 8, 32)}
    assert of_the_paper == {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}


def test_what_cannot_be_is_brought_into_range(chromium):
    wild = [
        {"cardinality": 50, "width": 99, "channels": 300, "form": "z", "keep": "everything"},
        {"cardinality": -3, "width": 0, "channels": 1e9, "form": "a", "keep": "nothing"},
        {"cardinality": 8, "width": 63, "channels": 256, "form": "b", "keep": "macs"},
        {"cardinality": None, "width": None, "channels": "x", "form": None, "keep": None},
    ]
    found = rules(chromium, "resnext_rules", "x.map(settled).map((s) => Object.values(s))", wild)
    assert found == [
        [64, 64, 256, "c", "nothing"], [1, 1, 2048, "a", "nothing"], [8, 14, 256, "b", "macs"],
        [1, 1, 256, "c", "nothing"],
    ]  # fmt: skip


# --- what a page shows ---


def label(page, name: str):
    return page.get_by_label(name, exact=True)


def expect(page, cardinality: int, width: int, channels: int = 256, keep: str = "parameters") -> None:
    """Check controls, table, bars and sentence against Python's numbers."""
    settle(page)
    assert label(page, "Cardinality C").get_attribute("aria-valuetext") == str(cardinality)
    assert label(page, "Width d").input_value() == str(width)
    assert label(page, "Kept equal").input_value() == keep
    assert label(page, "Stage: channels, map").input_value() == str(channels)
    mine, plain = numbers(cardinality, width, channels), numbers(1, 64, channels)
    rows = [row.split("\t") for row in page.locator(".rw-rx-table tbody").inner_text().splitlines()]
    assert [row[:3] for row in rows] == [[name, f"{mine[name]:,}", f"{plain[name]:,}"] for name in mine]
    for name, *_, ratio in rows:
        assert abs(float(ratio.removesuffix(" %")) - 100 * mine[name] / plain[name]) <= 0.5
    for track, block in zip(page.locator(".rw-rx-track").all(), (mine, plain), strict=True):
        shares = [float(share) for share in re.findall(r"([\d.]+) %", track.get_attribute("aria-label"))]
        for share, layer, part in zip(shares, LAYERS, track.locator("span").all(), strict=True):
            assert abs(share - 100 * block[layer] / block["convolutions"]) <= 0.5
            longest = max(mine["convolutions"], plain["convolutions"])
            room = track.bounding_box()["width"]
            assert abs(part.bounding_box()["width"] - room * block[layer] / longest) < 1
    said = page.locator(".rw-rx-summary").inner_text()
    if (cardinality, width) == (1, 64):
        assert "This is the plain block" in said
        return
    times = float(re.search(r"at ([\d.]+) times", said).group(1))
    assert abs(times - mine["convolutions"] / plain["convolutions"]) <= (0.005 if times < 10 else 0.05) + 1e-9
    shares = [block["3×3"] / block["convolutions"] for block in (plain, mine)]
    verb = "stays" if shares[0] == shares[1] else "falls" if shares[1] < shares[0] else "rises"
    assert f"The share of the 3×3 {verb}" in said
    assert ("No other whole width comes nearer" in said) == (keep != "nothing" and cardinality > 1)
    assert (f"{width}d means {width * channels // 256} channels a group" in said) == (channels != 256)
    middle = bottleneck_width(channels // 4, cardinality, width)
    assert f"{cardinality}×{width}d has {middle} channel{'' if middle == 1 else 's'} in the middle" in said
    assert ("as the plain block, at" if middle == channels // 4 else f"{channels // 4}, at") in said


def test_each_control_by_keyboard_alone(chromium):
    with shown(chromium, ResNeXtExplorer().as_html()) as page:
        press = page.keyboard.press
        press("Tab")
        press("Home")
        expect(page, 1, 64)
        for cardinality in CARDINALITIES[1:]:
            press("ArrowRight")
            expect(page, cardinality, nearest_width(cardinality, 256, "convolutions"))
        press("Tab")
        press("ArrowRight")  # a width of one's own keeps nothing
        expect(page, 64, 3, keep="nothing")
        press("End")
        expect(page, 64, 64, keep="nothing")
        press("Tab")
        press("ArrowUp")
        expect(page, 64, 2, keep="macs")
        press("ArrowUp")
        expect(page, 64, 2)
        press("Tab")
        for channels in (512, 1024, 2048):
            press("ArrowDown")
            expect(page, 64, nearest_width(64, channels, "convolutions"), channels)
        press("Tab")
        for form in ("a", "b", "c"):  # the chosen one has the focus, the next one follows the last
            press("ArrowDown")
            assert page.locator("input[type=radio]:checked").get_attribute("value") == form


def test_each_control_by_mouse(chromium):
    with shown(chromium, ResNeXtExplorer(cardinality=8).as_html()) as page:
        for name, state in (("Cardinality C", (64, 2)), ("Width d", (64, 64))):
            box = label(page, name).bounding_box()
            page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
            expect(page, *state, keep="parameters" if name.startswith("Card") else "nothing")
        label(page, "Kept equal").select_option("macs")
        expect(page, 64, 2, keep="macs")
        label(page, "Stage: channels, map").select_option("1024")
        expect(page, 64, nearest_width(64, 1024, "MACs"), 1024, keep="macs")
        page.get_by_text("(a) split-transform-merge", exact=True).click()
        settle(page)
        assert page.locator("input[value=a]").is_checked()
        assert "192 convolutions" in page.locator("figcaption").inner_text()


def test_numbers_of_many_settings_on_the_page(chromium):
    chance = random.Random(1)
    with shown(chromium, ResNeXtExplorer(keep="nothing", width=64).as_html()) as page:
        for cardinality, width, channels in chance.sample(SETTINGS, 40):
            label(page, "Cardinality C").fill(str(CARDINALITIES.index(cardinality)))
            label(page, "Width d").fill(str(width))
            label(page, "Stage: channels, map").select_option(str(channels))
            expect(page, cardinality, width, channels, keep="nothing")


# --- the drawing ---


def boxes(page) -> list[str]:
    """Return the boxes that are seen, each as its lines of text; the paths left out have only dots."""
    return page.evaluate("""[...document.querySelectorAll(".rw-rx-box")].map(
        (box) => [...box.querySelectorAll("text")].map((line) => line.textContent).join(" "))""")


def test_with_one_path_the_three_forms_are_one(chromium):
    pictures = set()
    for form in ("a", "b", "c"):
        with shown(chromium, ResNeXtExplorer(cardinality=1, form=form).as_html()) as page:
            assert boxes(page) == ["3×3 64→64", "1×1, 256 → 64", "1×1, 64 → 256"]
            assert "One path: all three forms are 1×1" in page.locator("figcaption").inner_text()
            pictures.add(page.locator(".rw-rx-picture svg").inner_html())
    assert len(pictures) == 1


@pytest.mark.parametrize(("cardinality", "drawn"), [(2, 2), (8, 8), (32, 6)])
def test_the_boxes_of_each_form(chromium, cardinality, drawn):
    group = equal_cost_width(cardinality)
    middle, dots = cardinality * group, int(cardinality > drawn)
    wants = {
        "a": {f"1×1 256→{group}": drawn, f"3×3 {group}→{group}": drawn, f"1×1 {group}→256": drawn, "⋯": 3 * dots},
        "b": {f"1×1 256→{group}": drawn, f"3×3 {group}→{group}": drawn, f"1×1, {middle} → 256": 1, "⋯": 2 * dots,
              f"concatenate: {cardinality} × {group} = {middle}": 1},
        "c": {f"1×1, 256 → {middle}": 1, f"3×3 {group}→{group}": drawn, f"1×1, {middle} → 256": 1, "⋯": dots},
    }  # fmt: skip
    for form, wanted in wants.items():
        with shown(chromium, ResNeXtExplorer(cardinality=cardinality, form=form).as_html()) as page:
            found = boxes(page)
            assert {text: found.count(text) for text in wanted} == wanted
            assert len(found) == sum(wanted.values())
            text = page.locator(".rw-rx-picture").inner_text()
            assert text.count("256 × 56 × 56") == 2 and "shortcut" in text
            assert (f"sum of the {cardinality} paths" in text) == (form == "a")
            assert (f"{cardinality} groups of {group}" in text) == (form == "c")
            assert ("paths" in text) == (form == "a" or form == "b" and dots)
            assert page.locator(".rw-rx-plus").count() == 1 + (form == "a")
            words = page.locator("figcaption").inner_text().replace("\xa0", " ")
            assert f"3×3 ({middle} → {middle})" in words or f"3×3 ({group} → {group})" in words
            assert ("the first 5 and the last of 32" in words) == bool(dots)


@pytest.mark.parametrize("width", [1000, 760, 360, 320])
def test_lettering_stays_inside_its_box(chromium, width):
    outside = """[...document.querySelectorAll(".rw-rx-box")].filter((box) => {
        const [rect, ...lines] = [...box.children].map((child) => child.getBBox());
        return lines.some((line) => line.x < rect.x || line.x + line.width > rect.x + rect.width);
    }).length"""
    for cardinality in (4, 8, 64):
        options = {"cardinality": cardinality, "width": 64, "channels": 2048, "keep": "nothing"}
        for form in ("a", "b", "c"):
            with shown(chromium, ResNeXtExplorer(form=form, **options).as_html(), width=width) as page:
                assert page.evaluate(outside) == 0 and boxes(page)


def tops_of_the_last_row(page) -> float:
    return page.evaluate("Math.max(...[...document.querySelectorAll('.rw-rx-box rect')].map((r) => r.getBBox().y))")


def test_one_form_turns_into_the_next(chromium):
    with shown(chromium, ResNeXtExplorer(form="a").as_html()) as page:
        before = tops_of_the_last_row(page)
        page.clock.install()
        page.clock.pause_at("2030-01-01")
        page.get_by_role("radio", name="(c) grouped convolution").check()
        page.clock.run_for(350)
        middle = tops_of_the_last_row(page)
        page.clock.run_for(1000)
        after = tops_of_the_last_row(page)
        assert before < middle < after
        assert len(boxes(page)) == 2 + 7
        page.get_by_role("radio", name="(a) split-transform-merge").check()
        page.clock.run_for(200)
        label(page, "Cardinality C").fill("1")  # in the middle of the way: another block, at once
        page.clock.run_for(32)
        assert boxes(page) == ["1×1 256→40", "3×3 40→40", "1×1 40→256"] * 2


def test_no_motion_for_those_who_want_none(chromium):
    with shown(chromium, ResNeXtExplorer(form="a").as_html()) as page:
        page.emulate_media(reduced_motion="reduce")
        page.get_by_role("radio", name="(c) grouped convolution").check()
        settle(page)
        assert len(boxes(page)) == 2 + 7


@pytest.mark.parametrize("width", [1000, 360])
def test_nothing_jumps(chromium, width):
    with shown(chromium, ResNeXtExplorer(channels=2048).as_html(), width=width) as page:
        page.emulate_media(reduced_motion="reduce")
        tops = set()
        for form in ("(a) split-transform-merge", "(b) early concatenation", "(c) grouped convolution"):
            page.get_by_role("radio", name=form).check()
            for index in range(7):
                label(page, "Cardinality C").fill(str(index))
                settle(page)
                bars, whole = (page.locator(node).bounding_box() for node in (".rw-rx-bars", ".rw"))
                tops.add((bars["y"], whole["height"]))
        assert len(tops) == 1


def test_the_drawing_follows_the_window(chromium):
    with shown(chromium, ResNeXtExplorer(form="a").as_html()) as page:
        assert boxes(page).count("3×3 4→4") == 6
        page.set_viewport_size({"width": 360, "height": 900})
        page.wait_for_function("document.querySelectorAll('.rw-rx-box').length === 12")
        assert boxes(page).count("3×3 4→4") == 3
        assert "the first 2 and the last of 32" in page.locator("figcaption").inner_text()


# --- address, accessibility, Python ---


def test_the_address_holds_what_was_chosen(chromium):
    with shown(chromium, ResNeXtExplorer().as_html()) as page:
        label(page, "Cardinality C").fill("3")
        page.get_by_role("radio", name="(b) early concatenation").check()
        page.wait_for_function("location.search.includes('resnext.form=b')")
        page.reload()
        expect(page, 8, 14)
        assert page.get_by_role("radio", name="(b) early concatenation").is_checked()
        label(page, "Cardinality C").fill("5")
        page.get_by_role("radio", name="(c) grouped convolution").check()
        # All is as the page has it: nothing is left in the address.
        page.wait_for_function("location.search === ''")
    wild = {"resnext.cardinality": 99, "resnext.width": -1, "resnext.channels": 7, "resnext.keep": "x"}
    with shown(chromium, ResNeXtExplorer().as_html(), **wild) as page:
        expect(page, 64, 1, 256, keep="nothing")


def test_what_is_said_aloud(chromium):
    with shown(chromium, ResNeXtExplorer().as_html()) as page:
        label(page, "Cardinality C").fill("3")
        spoken = "document.querySelector('[aria-live]').textContent"
        page.wait_for_function(f"{spoken}.includes('8×14d has 112 channels in the middle instead of 64')")
        page.get_by_role("radio", name="(a) split-transform-merge").check()
        page.wait_for_function(f"{spoken}.startsWith('(a) split-transform-merge.')")


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_it_is_accessible_and_fits(chromium, look, width):
    widest = ResNeXtExplorer(cardinality=64, width=64, channels=2048, keep="nothing", form="a")
    with shown(chromium, ResNeXtExplorer().as_html(), widest.as_html(), look=look, width=width) as page:
        assert violations(page) == [] and too_wide(page) <= 0


def test_two_on_a_page_are_apart(chromium):
    first, second = ResNeXtExplorer(form="a"), ResNeXtExplorer(cardinality=1)
    with shown(chromium, first.as_html(), second.as_html()) as page:
        page.get_by_role("radio", name="(b) early concatenation").nth(1).check()
        page.wait_for_function("location.search === '?resnext2.form=b'")
        chosen = [radio.get_attribute("value") for radio in page.locator("input[type=radio]:checked").all()]
        assert chosen == ["a", "b"]


def test_python_refuses_what_cannot_be():
    with pytest.raises(TraitError, match="width=14 does"):
        ResNeXtExplorer(cardinality=8, width=20)
    for wrong in ({"cardinality": 3}, {"width": 0}, {"channels": 64}, {"form": "d"}, {"keep": "time"}):
        with pytest.raises(TraitError):
            ResNeXtExplorer(**wrong)


def test_in_python_the_width_follows_too():
    widget = ResNeXtExplorer(cardinality=8)
    assert widget.width == 14
    widget.cardinality = 2
    assert widget.width == 40
    widget.keep = "nothing"
    widget.cardinality = 32
    assert widget.width == 40
    widget.keep = "macs"
    assert widget.width == 4
    widget.set_state({"cardinality": 4, "width": 30, "keep": "nothing"})  # as the front end sends it
    assert (widget.cardinality, widget.width, widget.keep) == (4, 30, "nothing")


def test_without_scripts_a_table_stands_there():
    html = ResNeXtExplorer(cardinality=8, width=20, channels=512, keep="nothing", form="b").as_html()
    mine, plain = numbers(8, 20, 512), numbers(1, 64, 512)
    for name in mine:
        assert f"<td>{mine[name]:,}</td><td>{plain[name]:,}</td>" in html
    assert "8×20d" in html and "early concatenation" in html and "<script" not in html
