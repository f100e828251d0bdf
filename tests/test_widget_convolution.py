"""The convolution explorer: its arithmetic is Python's, and every control does what it says."""

from __future__ import annotations

import random
import re

import pytest
import torch
from torch import nn
from traitlets import TraitError
from widget_help import rules, settle, shown, too_wide, violations

from resnet_tutorial.shapes import conv_macs, conv_output_size, conv_params
from resnet_tutorial.widgets import ConvolutionExplorer

LIMITS = {"size": (1, 14), "kernel": (1, 7), "stride": (1, 5), "padding": (0, 4), "dilation": (1, 4)}
LABELS = {"size": "Image, pixels a side", "kernel": "Kernel", "stride": "Stride", "padding": "Padding",
          "dilation": "Dilation"}  # fmt: skip


def side_of(setting: dict) -> int:
    """Return the output's side by the book's rule; 0 when the kernel does not fit."""
    try:
        return conv_output_size(*(setting[name] for name in LIMITS))
    except ValueError:
        return 0


def all_settings() -> list[dict]:
    chance = random.Random(0)
    return [{name: chance.randint(*limits) for name, limits in LIMITS.items()} for _ in range(600)]


def test_sizes_are_those_of_the_package(chromium):
    settings = all_settings()
    found = rules(chromium, "convolution_rules", "x.map((s) => alongOneAxis(s).out)", settings)
    assert found == [side_of(setting) for setting in settings]
    assert 50 < found.count(0) < 400


def test_pixels_that_are_read_are_those_with_a_gradient(chromium):
    settings = [s for s in all_settings() if side_of(s)][:80]
    found = rules(chromium, "convolution_rules", "x.map(reads)", settings)
    for setting, mask in zip(settings, found, strict=True):
        row = torch.zeros(1, 1, setting["size"], requires_grad=True)
        options = {name: setting[name] for name in ("stride", "padding", "dilation")}
        layer = nn.Conv1d(1, 1, setting["kernel"], bias=False, **options)
        nn.init.ones_(layer.weight)
        layer(row).sum().backward()
        assert mask == (row.grad[0, 0] > 0).tolist(), setting


def test_costs_and_bundles_are_those_of_the_package(chromium):
    chance = random.Random(1)
    cases = []
    for _ in range(100):
        groups, kernel, side = chance.choice((1, 2, 4)), chance.randint(1, 7), chance.randint(1, 14)
        cases.append({"inChannels": groups * chance.randint(1, 4), "outChannels": groups * chance.randint(1, 4),
                      "groups": groups, "kernel": kernel, "side": side})  # fmt: skip
    found = rules(chromium, "convolution_rules", "x.map((s) => [cost(s, s.side), bundle(s, s.outChannels - 1)])", cases)
    for case, (cost, bundle) in zip(cases, found, strict=True):
        channels = case["inChannels"], case["outChannels"], case["kernel"]
        assert cost["params"] == conv_params(*channels, groups=case["groups"])
        assert cost["macs"] == conv_macs(*channels, case["side"], groups=case["groups"])
        assert bundle == [case["inChannels"] - case["inChannels"] // case["groups"], case["inChannels"]]


def read_output(page) -> int:
    """Return the output's side as the page shows it, and that all places on the page agree."""
    settle(page)
    caption = page.locator(".rw-conv-grid figcaption").nth(1).inner_text()
    side = int(re.search(r"output, (\d+)", caption).group(1)) if "output, " in caption else 0
    assert page.locator(".rw-conv-out, .rw-conv-here").count() == side**2
    if side:
        assert page.locator(".rw-conv-formula b").inner_text() == str(side)
    return side


def test_each_slider_by_keyboard_alone(chromium):
    with shown(chromium, ConvolutionExplorer().as_html()) as page:
        setting = {"size": 8, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1}
        page.keyboard.press("Tab")
        for name, (least, most) in LIMITS.items():
            assert page.evaluate("document.activeElement.labels[0].textContent") == LABELS[name]
            for key, value in (("End", most), ("Home", least), ("ArrowRight", least + 1)):
                page.keyboard.press(key)
                setting[name] = value
                assert read_output(page) == side_of(setting), setting
            page.keyboard.press("Tab")


def test_each_slider_by_mouse(chromium):
    with shown(chromium, ConvolutionExplorer().as_html()) as page:
        setting = {"size": 8, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1}
        for name, label in LABELS.items():
            box = page.get_by_label(label, exact=True).bounding_box()
            page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
            setting[name] = LIMITS[name][1]
            assert read_output(page) == side_of(setting), setting


def test_the_window_follows_sliders_and_pointer(chromium):
    with shown(chromium, ConvolutionExplorer(size=7, kernel=3, stride=2, padding=1).as_html()) as page:
        page.get_by_label("Output row").fill("3")
        page.get_by_label("Output column").fill("4")
        settle(page)
        window = page.locator(".rw-conv-window").bounding_box()
        grid = page.locator(".rw-conv-grid svg").first.bounding_box()
        cell = grid["width"] / 9
        assert abs(window["x"] - grid["x"] - 6 * cell) < 2 and abs(window["y"] - grid["y"] - 4 * cell) < 2
        page.locator(".rw-conv-out").first.hover()
        settle(page)
        assert page.get_by_label("Output row").input_value() == "1"
        assert page.get_by_label("Output column").input_value() == "1"


def test_the_window_moves_by_itself_and_stops(chromium):
    with shown(chromium, ConvolutionExplorer(size=5, kernel=3, padding=0).as_html()) as page:
        page.get_by_role("button", name="Move the window").click()
        page.wait_for_function("document.querySelector('.rw-conv-here').getAttribute('x') > 60")
        page.get_by_role("button", name="Stop").press("Enter")
        assert page.get_by_role("button", name="Move the window").is_visible()


def test_with_less_motion_the_window_moves_one_position_for_each_press(chromium):
    html = ConvolutionExplorer(size=4, kernel=3, padding=0).as_html()
    with shown(chromium, html, reduced_motion="reduce") as page:
        seen = []
        for _ in range(5):
            places = [page.get_by_label(f"Output {axis}").input_value() for axis in ("row", "column")]
            seen.append(tuple(map(int, places)))
            page.get_by_role("button", name="Next position").press("Enter")
            settle(page)
        assert seen == [(1, 1), (1, 2), (2, 1), (2, 2), (1, 1)]
        page.get_by_label("Kernel", exact=True).fill("7")  # it does not fit: nothing can move
        settle(page)
        assert page.get_by_role("button", name="Next position").is_disabled()


def test_a_window_that_steps_over_pixels_is_named(chromium):
    with shown(chromium, ConvolutionExplorer(size=8, kernel=1, stride=2, padding=0).as_html()) as page:
        note = page.locator(".rw-conv-note").inner_text()
        assert "steps over pixels" in note and "48 of the 64" in note and "padded" not in note
        assert "rows 1 to 1, columns 1 to 1" in page.get_by_role("img").first.get_attribute("aria-label")


def test_channels_and_groups(chromium):
    with shown(chromium, ConvolutionExplorer(size=8, kernel=3).as_html()) as page:
        page.get_by_label("Input channels", exact=True).select_option("12")
        page.get_by_label("Groups", exact=True).select_option("4")
        settle(page)
        assert page.locator(".rw-conv-links line").count() == 12 * 8 // 4
        text = page.locator(".rw").inner_text()
        weights, macs = conv_params(12, 8, 3, groups=4), conv_macs(12, 8, 3, 8, groups=4)
        assert f"(8, 3, 3, 3), which are {weights} numbers" in text and f"{macs:,} together" in text
        page.get_by_label("Output channels", exact=True).select_option("6")  # 4 groups do not divide 6
        settle(page)
        assert page.get_by_label("Groups", exact=True).input_value() == "3"


def test_the_address_holds_what_was_chosen(chromium):
    with shown(chromium, ConvolutionExplorer().as_html()) as page:
        page.get_by_label("Stride", exact=True).fill("3")
        page.wait_for_function("location.search.includes('convolution.stride=3')")
        page.reload()
        assert page.get_by_label("Stride", exact=True).input_value() == "3"
        page.get_by_label("Stride", exact=True).fill("1")  # as the page has it: nothing is left in the address
        page.wait_for_function("location.search === ''")
    wild = {"convolution.size": 99, "convolution.kernel": "x", "convolution.stride": -2, "convolution.groups": 5}
    with shown(chromium, ConvolutionExplorer().as_html(), **wild) as page:
        assert page.get_by_label("Image, pixels a side").input_value() == "14"
        assert page.get_by_label("Stride", exact=True).input_value() == "1"
        assert read_output(page) == side_of({"size": 14, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1})


def test_what_is_said_aloud(chromium):
    with shown(chromium, ConvolutionExplorer(size=8, stride=2, padding=0).as_html()) as page:
        page.get_by_label("Padding", exact=True).fill("1")
        page.wait_for_function("document.querySelector('[aria-live]').textContent.includes('4 by 4')")


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_it_is_accessible_and_fits(chromium, look, width):
    html = ConvolutionExplorer(in_channels=16, out_channels=16).as_html()
    with shown(chromium, html, look=look, width=width) as page:
        assert violations(page) == [] and too_wide(page) <= 0


def test_two_that_change_at_once_both_stay_in_the_address(chromium):
    with shown(chromium, ConvolutionExplorer().as_html(), ConvolutionExplorer().as_html()) as page:
        page.get_by_label("Stride", exact=True).nth(0).fill("2")
        page.get_by_label("Stride", exact=True).nth(1).fill("3")
        for field in ("convolution.stride=2", "convolution2.stride=3"):
            page.wait_for_function(f"location.search.includes('{field}')")


def test_two_on_a_page_are_apart(chromium):
    first, second = ConvolutionExplorer(size=5), ConvolutionExplorer(size=9)
    with shown(chromium, first.as_html(), second.as_html()) as page:
        page.get_by_label("Kernel", exact=True).nth(1).fill("5")
        settle(page)
        assert [page.get_by_label("Kernel", exact=True).nth(n).input_value() for n in (0, 1)] == ["3", "5"]
        page.wait_for_function("location.search.includes('convolution2.kernel=5')")


def test_python_refuses_what_cannot_be():
    with pytest.raises(TraitError, match="does not divide"):
        ConvolutionExplorer(in_channels=8, out_channels=6, groups=4)
    with pytest.raises(TraitError):
        ConvolutionExplorer(kernel=0)


def test_without_scripts_a_table_stands_there():
    html = ConvolutionExplorer(size=7, kernel=3, stride=2, padding=1).as_html()
    assert "<td>4 × 4</td>" in html and "<script" not in html
    assert "does not fit" in ConvolutionExplorer(size=2, kernel=7, padding=0).fallback()
