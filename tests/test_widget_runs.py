"""The run viewer: what it shows is what the records say, and every control does what it says."""

from __future__ import annotations

import json
import math
import random
import re
import statistics

import pytest
from traitlets import TraitError
from widget_help import rules, settle, shown, too_wide, violations

from resnet_tutorial.train import History, TrainingError, list_runs, load_run
from resnet_tutorial.train.record import results_folder
from resnet_tutorial.widgets import RunViewer

DEEP = ("plain20", "plain56", "resnet20", "resnet56")
SEEDS = ("resnet8-seed0", "resnet8-seed1", "resnet8-seed2")
MUON = "resnet8-muon-seed0"
ROWS = {"train_error": "training error (%)", "test_error": "test error (%)",
        "train_loss": "training loss", "test_loss": "test loss"}  # fmt: skip


def record(name: str) -> dict:
    """Return what stands in the run's file."""
    return json.loads((results_folder() / name / "run.json").read_text(encoding="utf-8"))


def curve(name: str, which: str) -> list[float]:
    return record(name)["history"][which]


def four_digits(value: float) -> str:
    """Return a loss with four significant digits, zeros at the end included."""
    return f"{value:.{max(0, 3 - math.floor(math.log10(value)))}f}"


def cells(page, row: str) -> list[list[str]]:
    """Return the lines of each cell of one row of the table."""
    settle(page)
    found = page.locator(".rw-runs-numbers tr", has=page.get_by_role("rowheader", name=row, exact=True))
    return [text.split("\n") for text in found.locator("td").all_inner_texts()]


def drawn(page, name: str, which: str) -> list[float]:
    """Return the numbers that a line shows, read off its path by the ticks of the axis beside it."""
    settle(page)
    path = page.locator(f"[data-run='{name}'][data-curve='{which}'] .rw-runs-line").get_attribute("d")
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    ticks = page.locator(".rw-runs-left").evaluate_all(
        "(texts) => texts.map((t) => [Number(t.textContent), Number(t.getAttribute('y')) - 4])")  # fmt: skip
    ticks = [tick for tick in ticks if (tick[1] > 280) == (which == "lr")]
    (low, below), (high, above) = ticks[0], ticks[-1]
    log = page.get_by_label("Vertical axis").input_value() == "log" and which != "lr"
    if log:
        low, high = math.log10(low), math.log10(high)
    values = [low + (high - low) * (below - y) / (below - above) for y in heights]
    return [10**value for value in values] if log else values


def middle(place) -> float:
    """Return how far right the middle of something is on the page."""
    box = place.bounding_box()
    return box["x"] + box["width"] / 2


# --- arithmetic ---


def test_mean_spread_and_distance_are_pythons(chromium):
    chance = random.Random(0)
    lists = [[round(chance.uniform(5, 90), 2) for _ in range(chance.randint(2, 8))] for _ in range(300)]
    found = rules(chromium, "runs_rules", "x.map((v) => [meanAndSpread(v), apart('test_error', v[0], v[1])])", lists)
    for values, (usual, apart) in zip(lists, found, strict=True):
        assert usual["mean"] == pytest.approx(statistics.mean(values))
        assert usual["spread"] == pytest.approx(statistics.stdev(values))
        difference = f"{values[0] - values[1]:+.2f}".replace("-", "−")
        assert apart == difference or apart == "±0.00" and abs(values[0] - values[1]) < 0.005


def test_an_axis_holds_all_values_and_has_round_ticks(chromium):
    chance = random.Random(1)
    cases = []
    for _ in range(400):
        size, middle = 10 ** chance.uniform(-3, 2), 10 ** chance.uniform(-3, 2)
        values = [middle + size * chance.random() for _ in range(chance.randint(1, 20))]
        cases.append([chance.choice(("zero", "fitted", "log")), values])
    found = rules(chromium, "runs_rules",
                  "x.map(([kind, v]) => { const a = axisFor(v, kind); return [a, v.map((n) => along(a, n))]; })",
                  cases)  # fmt: skip
    for (kind, values), (axis, places) in zip(cases, found, strict=True):
        least, most, ticks = axis["least"], axis["most"], axis["ticks"]
        assert least <= min(values) * (1 + 1e-9) and most >= max(values) * (1 - 1e-9)
        assert (least == 0) or kind != "zero"
        assert 2 <= len(ticks) <= 20 and len(set(axis["texts"])) == len(ticks)
        assert [float(text) for text in axis["texts"]] == ticks
        if kind != "log":
            steps = [after - before for before, after in zip(ticks, ticks[1:], strict=False)]
            assert all(step == pytest.approx(steps[0]) for step in steps)
            assert f"{steps[0]:.0e}"[0] in "125"
        scale = math.log10 if kind == "log" else float
        expected = [(scale(v) - scale(least)) / (scale(most) - scale(least)) for v in values]
        assert places == pytest.approx(expected)


def test_a_logarithmic_axis_leaves_out_what_has_no_logarithm(chromium):
    script = "(() => { const a = axisFor(x, 'log'); return [a.least, a.most, x.map((v) => along(a, v))]; })()"
    least, most, places = rules(chromium, "runs_rules", script, [0, 0.02, 5, -1])
    assert 0 < least <= 0.02 and most >= 5
    assert [place is None for place in places] == [True, False, False, True]


# --- the records ---


@pytest.mark.parametrize("name", list_runs())
def test_what_is_embedded_is_what_was_recorded(name):
    viewer, was = RunViewer(name), record(name)
    (run,) = viewer.runs
    history = was["history"]
    for which, values in run["curves"].items():
        digits = (lambda v: round(v, 2)) if which.endswith("error") else (lambda v: float(f"{v:.4g}"))
        assert values == [digits(value) for value in history[which]]
    measured = {f"{part}_{kind}" for part in ("train", "val", "test") for kind in ("error", "loss")}
    assert {which for which in measured if history[which]} == set(run["curves"])
    assert run["lr"] == [float(f"{rate:.4g}") for rate in history["lr"]]
    assert run["final"] == round(history["final"]["test_error"], 2)
    assert run["seconds"] == was["training_seconds"] and run["seed"] == history["settings"]["seed"]
    assert run["epochs"] == viewer.epoch == len(history["epoch"])
    assert run["network"].startswith(was["model"]) and run["recipe"].startswith(history["settings"]["recipe"]["name"])
    assert was["machine"]["device"] in run["machine"]
    assert len(json.dumps(run)) < 1500 + 40 * run["epochs"]


def test_what_was_changed_is_named():
    names = ("resnet8-shortcut-c-seed0", "resnet8-no-augmentation-seed0", MUON)
    shortcut, augmentation, muon = RunViewer(*names).runs
    assert shortcut["network"] == "cifar_resnet8, shortcut=C" and shortcut["recipe"] == "fast"
    assert set(augmentation["recipe"].split(", ")) == {"fast", "pad=0", "flip=False", "early_share=0"}
    assert set(muon["recipe"].split(", ")) == {"muon", "batch_size=128", "pad=4", "label_smoothing=0"}
    assert muon["network"] == "cifar_resnet8"


def test_only_runs_that_differ_in_nothing_but_the_seed_are_a_family():
    families = [run["family"] for run in RunViewer(*SEEDS, MUON, "resnet8-shortcut-b-seed0").runs]
    assert families == ["resnet8"] * 3 + ["", ""]
    assert [run["family"] for run in RunViewer(SEEDS[0], MUON).runs] == ["", ""]


def test_runs_of_other_kinds(tmp_path):
    run = load_run("resnet20")
    own = tmp_path / "own.json"
    run.history.save(own)
    viewer = RunViewer("resnet20", {"again": run, "mine": run.history}, own, run.history)
    assert [entry["name"] for entry in viewer.runs] == ["resnet20", "again", "mine", "own", "run 4"]
    first, *others = viewer.runs
    assert all(other["curves"] == first["curves"] and other["final"] == first["final"] for other in others)
    assert viewer.runs[2]["network"] == "not recorded" and viewer.runs[1]["network"] == "cifar_resnet20"
    for path in (run.folder, run.folder / "run.json", str(run.folder)):
        assert RunViewer(path).runs == RunViewer("resnet20").runs


def test_what_is_not_finite_is_no_number(chromium):
    history = History(epoch=[1, 2, 3], lr=[0.1] * 3, train_error=[50.0, 90.0, 90.0], seconds=[1.0] * 3,
                      train_loss=[1.5, math.nan, math.inf], final={"test_error": 90.0})  # fmt: skip
    html = RunViewer({"lost": history}, kind="loss").as_html()
    assert "NaN" not in html and "Infinity" not in html
    with shown(chromium, html) as page:
        assert cells(page, "training loss") == [["not finite"]]
        assert len(drawn(page, "lost", "train_loss")) == 1


# --- controls ---


def test_the_table_has_every_number_of_every_epoch_by_keyboard(chromium):
    with shown(chromium, RunViewer(*DEEP, epoch=1).as_html()) as page:
        page.get_by_label("Epoch", exact=True).focus()
        for epoch in range(1, 21):
            assert page.locator(".rw-runs-part").first.inner_text() == f"At epoch {epoch}"
            for which, row in ROWS.items():
                values = [curve(name, which)[epoch - 1] for name in DEEP]
                errors = which.endswith("error")
                expected = [f"{value:.2f}" if errors else four_digits(value) for value in values]
                found = cells(page, row)
                assert [cell[0] for cell in found] == expected, (epoch, row)
                assert found[0][1] == "reference"
                if errors:
                    told = [float(cell[1].replace("−", "-").replace("±", "")) for cell in found[1:]]
                    first = round(values[0], 2)
                    assert told == pytest.approx([round(v, 2) - first for v in values[1:]], abs=1e-6)
            rates = [float(cell[0]) for cell in cells(page, "learning rate")]
            assert rates == [float(f"{curve(name, 'lr')[epoch - 1]:.4g}") for name in DEEP]
            page.keyboard.press("ArrowRight")
            settle(page)


def test_the_table_says_what_each_run_was(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        final = [f"{record(name)['history']['final']['test_error']:.2f}" for name in DEEP]
        assert [cell[0] for cell in cells(page, "final test error (%)")] == final
        assert [cell[0] for cell in cells(page, "network")] == [record(name)["model"] for name in DEEP]
        assert [cell[0] for cell in cells(page, "training seconds")] == [
            f"{record(name)['training_seconds']:,.1f}" for name in DEEP
        ]
        machine = record(DEEP[0])["machine"]
        assert machine["device"] in cells(page, "machine")[0][0]
        assert cells(page, "recipe")[0] == ["fast"] and cells(page, "epochs")[0] == ["20"]


@pytest.mark.parametrize("axis", ["zero", "fitted", "log"])
@pytest.mark.parametrize("kind", ["error", "loss"])
def test_the_lines_lie_where_the_numbers_are(chromium, kind, axis):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        page.get_by_label("Curves").select_option(kind)
        page.get_by_label("Vertical axis").select_option(axis)
        for name in DEEP:
            for part in ("train", "test"):
                assert drawn(page, name, f"{part}_{kind}") == pytest.approx(curve(name, f"{part}_{kind}"), rel=0.02)
            assert drawn(page, name, "lr") == pytest.approx(curve(name, "lr"), abs=0.002)


def test_the_pointer_chooses_the_epoch(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        for epoch in (7, 20, 1, 13):
            ticks = page.locator(".rw-runs-plot svg text.rw-runs-middle", has_text=re.compile(r"^1$|^20$"))
            first, last = (middle(ticks.nth(n)) for n in (0, 1))
            place = first + (last - first) * (epoch - 1) / 19
            page.mouse.move(place + 3, page.locator(".rw-runs-plot").bounding_box()["y"] + 120)
            settle(page)
            assert page.get_by_label("Epoch", exact=True).input_value() == str(epoch)
            assert page.locator(".rw-runs-here").text_content() == f"epoch {epoch}"
            assert middle(page.locator(".rw-runs-cursor").first) == pytest.approx(place, abs=1.5)


def test_the_slider_by_mouse_stands_under_the_cursor(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        box = page.get_by_label("Epoch", exact=True).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        settle(page)
        assert page.get_by_label("Epoch", exact=True).input_value() in ("10", "11")
        page.keyboard.press("Home")
        settle(page)
        assert page.locator(".rw-runs-cursor").first.bounding_box()["x"] == pytest.approx(box["x"] + 8, abs=2)


def test_everything_by_keyboard_alone(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        labels = ["Curves", "Vertical axis", "training, dashed", "test, solid", *DEEP, "Epoch", "Difference from"]
        for label in labels:
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.labels[0].textContent") == label
            keys = {"Curves": "l", "Vertical axis": "f", "Epoch": "Home", "Difference from": "r"}
            page.keyboard.press(keys.get(label, "Space"))
            settle(page)
            if label in DEEP[:3]:
                page.keyboard.press("Space")  # so that one remains off: the last
                settle(page)
        assert page.get_by_label("Curves").input_value() == "loss"
        assert page.get_by_label("Vertical axis").input_value() == "fitted"
        assert page.locator("g[data-curve$='_loss'], g[data-curve$='_error']").count() == 0  # neither part is ticked
        assert page.get_by_text("No curve is ticked.").is_visible()
        assert page.locator(".rw-runs-numbers thead th").all_inner_texts() == list(DEEP[:3])
        assert page.locator(".rw-runs-part").first.inner_text() == "At epoch 1"
        assert [cell[1] for cell in cells(page, "final test error (%)")][2] == "reference"


def test_runs_and_parts_are_toggled_by_mouse(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html()) as page:
        page.get_by_label("plain56", exact=True).uncheck()
        page.get_by_label("training, dashed").uncheck()
        settle(page)
        found = page.locator("g[data-curve$='_error']").evaluate_all(
            "(groups) => groups.map((g) => g.dataset.run + g.dataset.curve)")  # fmt: skip
        assert found == [f"{name}test_error" for name in DEEP if name != "plain56"]
        assert page.locator(".rw-runs-numbers thead th").all_inner_texts() == ["plain20", "resnet20", "resnet56"]
        for name in DEEP:
            page.get_by_label(name, exact=True).set_checked(False)
        settle(page)
        assert page.locator(".rw-runs-note").inner_text().startswith("No run is ticked: tick one")
        assert page.locator(".rw-runs-numbers").inner_text() == ""
        assert page.locator(".rw-runs-plot").get_by_text("No run is ticked.").is_visible()
        assert not any(page.locator(".rw-runs-left").all_inner_texts())  # there is nothing to measure
        assert page.get_by_label("Difference from").evaluate("(s) => s.selectedOptions[0].text") == "no run is ticked"
        page.get_by_label("resnet20", exact=True).check()
        settle(page)
        assert page.locator(".rw-runs-numbers thead th").all_inner_texts() == ["resnet20"]


def test_a_run_keeps_its_colour_and_marker(chromium):
    names = [*SEEDS, MUON, *DEEP]
    with shown(chromium, RunViewer(*names).as_html()) as page:
        look_of = "(n) => n.getAttribute('fill') + n.getAttribute('d')"
        looks = page.locator("label .rw-runs-mark").evaluate_all(f"(marks) => marks.map({look_of})")
        assert len(set(looks)) == len(names)
        page.get_by_label(names[0], exact=True).uncheck()
        settle(page)
        for name, look in list(zip(names, looks, strict=True))[1:]:
            mark = page.locator(f"g[data-run='{name}'][data-curve='test_error'] .rw-runs-mark").first
            assert mark.evaluate(look_of) == look
        dashes = page.locator(f"g[data-run='{MUON}'] .rw-runs-line").evaluate_all(
            "(p) => p.map((n) => n.getAttribute('stroke-dasharray'))")  # fmt: skip
        assert dashes == ["6 4", None, None]


def test_differences_from_the_mean_of_the_seeds(chromium):
    with shown(chromium, RunViewer(*SEEDS, MUON, test=False).as_html()) as page:
        page.get_by_label("Difference from").select_option("mean of resnet8")
        page.get_by_label("test, solid").check()
        for epoch in (1, 2, 3):
            page.get_by_label("Epoch", exact=True).fill(str(epoch))
            for which in ("train_error", "test_error"):
                seeds = [round(curve(name, which)[epoch - 1], 2) for name in SEEDS]
                mean, spread = statistics.mean(seeds), statistics.stdev(seeds)
                *runs, usual = cells(page, ROWS[which])
                assert usual[:2] == [f"{mean:.2f}", f"spread {spread:.2f}"]
                for name, cell in zip((*SEEDS, MUON), runs, strict=True):
                    value = round(curve(name, which)[epoch - 1], 2)
                    points = float(cell[1].replace("−", "-").replace("±", ""))
                    assert points == pytest.approx(value - mean, abs=0.0051)
                    assert float(cell[2].split()[0]) == pytest.approx(abs(value - mean) / spread, abs=0.051)
        assert page.locator(".rw-runs-band").count() == 2
        page.get_by_label(SEEDS[1], exact=True).uncheck()  # the mean is that of the runs that are ticked
        finals = [round(record(name)["history"]["final"]["test_error"], 2) for name in (SEEDS[0], SEEDS[2])]
        assert cells(page, "final test error (%)")[-1][0] == f"{statistics.mean(finals):.2f}"
        page.get_by_label(SEEDS[2], exact=True).uncheck()  # one seed has no mean: the first run stands in
        settle(page)
        assert page.get_by_label("Difference from").input_value() == SEEDS[0]


def test_a_single_run_is_compared_with_nothing(chromium):
    with shown(chromium, RunViewer("resnet20", epoch=10).as_html()) as page:
        assert cells(page, "test error (%)") == [[f"{curve('resnet20', 'test_error')[9]:.2f}"]]
        assert page.get_by_label("Difference from").count() == 0 and page.locator(".rw-runs-note").inner_text() == ""


def test_runs_of_different_length(chromium):
    with shown(chromium, RunViewer("resnet20", SEEDS[0]).as_html()) as page:
        last = f"{curve('resnet20', 'test_error')[-1]:.2f}"
        assert [cell[0] for cell in cells(page, "test error (%)")] == [last, "–"]
        assert len(drawn(page, SEEDS[0], "test_error")) == 3


def test_nothing_moves_while_the_slider_does(chromium):
    places = """[...document.querySelectorAll('.rw *')]
        .filter((node) => !node.closest('.rw-runs-plot, .rw-spoken, wbr'))
        .map((node) => node.getBoundingClientRect().top)"""
    for viewer in (RunViewer(*DEEP), RunViewer(*SEEDS, MUON, "resnet20", reference="mean of resnet8")):
        for width in (1000, 360):
            with shown(chromium, viewer.as_html(), width=width) as page:
                before = page.evaluate(places)
                for epoch in range(1, 20, 3):
                    page.get_by_label("Epoch", exact=True).fill(str(epoch))
                    settle(page)
                    assert page.evaluate(places) == before


def test_the_picture_is_as_wide_as_the_page_lets_it_be(chromium):
    with shown(chromium, RunViewer(*DEEP).as_html(), width=900) as page:
        for width in (900, 500, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(
                "(() => { const p = document.querySelector('.rw-runs-plot');"
                " return Math.abs(p.clientWidth - p.firstChild.getBoundingClientRect().width) < 1; })()")  # fmt: skip
            assert too_wide(page) <= 0
        assert float(page.locator(".rw-runs-plot svg").get_attribute("width")) < 340


# --- the page ---


def test_the_address_holds_what_was_chosen(chromium):
    html = RunViewer(*DEEP).as_html()
    with shown(chromium, html) as page:
        page.get_by_label("Epoch", exact=True).fill("4")
        page.get_by_label("plain56", exact=True).uncheck()
        page.get_by_label("Vertical axis").select_option("log")
        page.get_by_label("Difference from").select_option("resnet20")
        for part in ("shown=1011", "epoch=4", "axis=log", "reference=resnet20"):
            page.wait_for_function(f"location.search.includes('runs.{part}')")
        page.reload()
        assert page.get_by_label("Epoch", exact=True).input_value() == "4"
        assert not page.get_by_label("plain56", exact=True).is_checked()
        assert page.get_by_label("Vertical axis").input_value() == "log"
        assert page.get_by_label("Difference from").input_value() == "resnet20"
        assert "runs.runs" not in page.url
    wild = {"runs.epoch": 1e9, "runs.shown": "0x?", "runs.kind": "joy", "runs.axis": "upside down",
            "runs.reference": "nobody", "runs.runs": "[]", "runs.test": "maybe"}  # fmt: skip
    with shown(chromium, html, **wild) as page:
        assert page.get_by_label("Epoch", exact=True).input_value() == "20"
        assert [page.get_by_label(name, exact=True).is_checked() for name in DEEP] == [False, True, True, True]
        assert page.get_by_label("Curves").input_value() == "error"
        assert page.get_by_label("Vertical axis").input_value() == "zero"
        assert page.get_by_label("Difference from").input_value() == "plain56"
    with shown(chromium, html, **{"runs.epoch": -3.7}) as page:
        assert page.get_by_label("Epoch", exact=True).input_value() == "1"


def test_what_is_said_aloud(chromium):
    with shown(chromium, RunViewer("plain20", "resnet20").as_html()) as page:
        page.get_by_label("Epoch", exact=True).fill("8")
        told = ["Epoch 8."]
        for name in ("plain20", "resnet20"):
            training, test = (curve(name, which)[7] for which in ("train_error", "test_error"))
            told.append(f"{name}: training error {training:.2f} %, test error {test:.2f} %.")
        sentence = json.dumps(" ".join(told))
        page.wait_for_function(f"document.querySelector('[aria-live]').textContent === {sentence}")


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_it_is_accessible_and_fits(chromium, look, width):
    viewers = RunViewer(*DEEP), RunViewer(*SEEDS, MUON, "plain20", "plain56", reference="mean of resnet8")
    with shown(chromium, *(viewer.as_html() for viewer in viewers), look=look, width=width) as page:
        assert violations(page) == [] and too_wide(page) <= 0
        tables = page.locator(".rw-runs-numbers")
        assert all(tables.evaluate_all("(all) => all.map((t) => t.scrollWidth <= t.clientWidth)"))


def test_where_columns_have_no_room_the_runs_stand_one_under_another(chromium):
    viewer = RunViewer(*SEEDS, MUON, reference="mean of resnet8", epoch=2)
    with shown(chromium, viewer.as_html(), width=360) as page:
        for kind, which in (("error", ("train_error", "test_error")), ("loss", ("train_loss", "test_loss"))):
            page.get_by_label("Curves").select_option(kind)
            settle(page)
            heads = page.locator(".rw-runs-rows thead th").all_inner_texts()
            assert heads == [*(ROWS[name] for name in which), "final test error (%)"]
            groups = page.locator(".rw-runs-rows tbody")
            assert groups.count() == 5  # four runs, and the mean of three of them
            for name, text in zip((*SEEDS, MUON), groups.all_inner_texts(), strict=False):
                values = [curve(name, one)[1] for one in which]
                told = [f"{v:.2f}" if kind == "error" else four_digits(v) for v in values]
                seed = record(name)["history"]["settings"]["seed"]
                assert all(part in text for part in (name, *told, f"seed {seed};"))
            finals = [round(record(name)["history"]["final"]["test_error"], 2) for name in SEEDS]
            assert f"{statistics.mean(finals):.2f}" in groups.last.inner_text()
        page.set_viewport_size({"width": 1000, "height": 900})
        page.wait_for_selector(".rw-runs-rows", state="detached")


def test_two_on_a_page_are_apart(chromium):
    with shown(chromium, RunViewer("plain20").as_html(), RunViewer("resnet20", epoch=5).as_html()) as page:
        page.get_by_label("Epoch", exact=True).nth(1).fill("9")
        settle(page)
        assert [page.get_by_label("Epoch", exact=True).nth(n).input_value() for n in (0, 1)] == ["20", "9"]
        page.wait_for_function("location.search.includes('runs2.epoch=9')")


def test_python_refuses_what_cannot_be():
    with pytest.raises(TrainingError, match="There is no recorded run 'resnet21'.*resnet20"):
        RunViewer("resnet21")
    with pytest.raises(TypeError, match="and not int"):
        RunViewer(20)
    with pytest.raises(ValueError, match="1 to 8 runs, and 0"):
        RunViewer()
    with pytest.raises(ValueError, match="and 9 were given"):
        RunViewer({str(n): "resnet20" for n in range(9)})
    with pytest.raises(ValueError, match="Two runs are called 'resnet20'"):
        RunViewer("resnet20", "resnet20")
    with pytest.raises(ValueError, match="no finished epoch"):
        RunViewer(History())
    for wrong in ({"epoch": 21}, {"epoch": 0}, {"shown": "101"}, {"kind": "lr"}, {"axis": "square"},
                  {"reference": "resnet56"}, {"reference": "mean of resnet8"}):  # fmt: skip
        with pytest.raises(TraitError):
            RunViewer("plain20", "resnet20", **wrong)
    viewer = RunViewer("plain20", "resnet20")
    with pytest.raises(TraitError):
        viewer.epoch = 21
    with pytest.raises(TraitError):
        viewer.runs = []


def test_without_scripts_a_table_stands_there():
    html = RunViewer(*DEEP).as_html()
    assert "<script" not in html
    for name in DEEP:
        was = record(name)
        row = re.search(rf"<tr><th scope='row'>{name}</th>(.*?)</tr>", html).group(1)
        assert f"<td>{was['history']['final']['test_error']:.2f}</td>" in row
        assert f"<td>{was['training_seconds']}</td>" in row and f"<td>{was['model']}</td>" in row
    strange = RunViewer({"<b>": load_run("resnet20").history}).as_html()
    assert "<b>" not in strange
