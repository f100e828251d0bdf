"""Every figure says in words what is to be seen, for those who cannot see it."""

from __future__ import annotations

import ast
import inspect
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from chapter_source import read_chapter
from conftest import ROOT

from resnet_tutorial import figures

LEAST_WORDS = 5
FILE_NAME = re.compile(r"[\w./\\-]+\.(svg|png|jpe?g|gif|webp|pdf)", re.IGNORECASE)


def shortcoming(description: str | None) -> str:
    """What is wrong with a description: nothing, or a few words."""
    words = re.findall(r"[^\W\d_]{2,}", description or "")
    if FILE_NAME.fullmatch((description or "").strip()):
        return f"it is the name of a file: {description}"
    if len(words) < LEAST_WORDS:
        return f"it has {len(words)} words of at least {LEAST_WORDS}: {description!r}"
    return ""


@pytest.mark.parametrize(
    "description",
    [None, "", "resnet50.svg", "../_images/a1b2c3d4e5.png", "A figure", "1 2 3 4 5 6 7 8", "img_17_final-version.jpeg"],
)
def test_a_poor_description_is_noticed(description):
    assert shortcoming(description)


def test_a_description_may_have_numbers_and_end_in_a_name():
    assert shortcoming("Two blocks side by side; the left one has 64 channels, as in resnet50.svg") == ""


# --- the functions that draw ---

SAID = "What the caller says is to be seen in it."
IMAGE = np.zeros((4, 4, 3), dtype=np.uint8)
MASK = torch.eye(4, dtype=torch.bool)
FELL = [3.0, 2.0, 1.0]
ONE_RUN = SimpleNamespace(
    epoch=[1, 2, 3], train_loss=FELL, train_error=FELL, val_loss=[], val_error=[], test_loss=FELL, test_error=FELL
)
ANSWERS = {
    "failing cases": [(8, 1)], "extra parameters": 0, "backward": "", "lowers a value": True,
    "copies at zero": 1.0, "gradient at zero": 1.0, "distance, stride 1": 0.0, "distance, stride 2": None,
}  # fmt: skip

# A small call of every figure: its positional arguments, and the others. The least that can be drawn is the hardest
# case for a description that is put together from what is drawn.
CALLS: dict[str, tuple[tuple, dict]] = {
    "agreement_bars": (({"plain": [0.1, 0.2]},), {}),
    "basic_block_cases": ((), {}),
    "basic_resnet_strips": ((), {}),
    "block_costs": (([("stage 1", 75_008, 70_400)],), {}),
    "block_diagram": ((figures.Block("one", ["3×3 conv, 64", "BN"]),), {"alt": SAID}),
    "block_weights": ((), {}),
    "change_against_noise": (([29.2, 28.4], {"muon": 23.2}), {"label": "error", "note": "short runs"}),
    "change_histogram": (({"a": torch.linspace(-1, 1, 50)},), {}),
    "channels_by_layer": (({"adding": [16, 16]},), {}),
    "confusion_heatmap": (([[5, 1], [0, 6]], ["cat", "dog"]), {}),
    "connectivity_matrices": (({"groups=1": MASK},), {"alt": SAID}),
    "conv_and_identity_block": ((), {}),
    "cost_of_cardinality": (([("1x64d", 4.9, 0.75)],), {}),
    "curves_of_a_run": ((ONE_RUN,), {}),
    "degradation_curves": (({"plain": {20: ONE_RUN}, "residual": {20: ONE_RUN}},), {"note": "short runs"}),
    "equal_cost_bars": (({"1×64d": (16_384, 36_864, 16_384)},), {}),
    "expansion_costs": ((), {}),
    "family_cost": (({"ResNet-18": (1.8, 11.7, 27.88)},), {}),
    "faulty_training_curves": (({"right": FELL},), {"floor": 0.5}),
    "group_connections": ((), {}),
    "heat_on_images": (([IMAGE], [np.zeros((2, 2))], ["cat"]), {"alt": SAID, "caption": ""}),
    "image_row": (([IMAGE], [""]), {"alt": SAID}),
    "kernel_positions": (((6, 3, 1, 0, 1, "no padding"),), {"alt": SAID}),
    "labelled_images": (([IMAGE], ["cat"]), {"alt": SAID}),
    "learning_rate_schedules": (({"steps": [0.1, 0.01]},), {}),
    "network_overview": ((), {}),
    "norms_by_layer": (({"plain": FELL},), {"ylabel": "norm", "alt": SAID, "caption": ""}),
    "number_formats": ((), {}),
    "paper_depth_errors": (({20: 8.75}, {"short runs": {20: 9.9}, "long runs": {}}), {"note": "no runs"}),
    "path_shares": (((1,),), {}),
    "pixels_read": (({"1×1": MASK.tolist()},), {}),
    "plain_and_residual_block": ((), {}),
    "pointwise_convolution": ((), {}),
    "pooling_coverage": (({192: None, 193: 1, 224: 1, 225: 0.77, 417: None},), {}),
    "pooling_reads": ((), {}),
    "pre_activation": ((), {}),
    "published_depth_errors": ((), {}),
    "read_pixels": (({"v1": MASK},), {"alt": SAID}),
    "receptive_cones": (([(3, 1)],), {"titles": ["one layer"]}),
    "relatives": ((), {}),
    "resnext_forms": ((), {}),
    "screening_table": (({"Bottleneck": ANSWERS},), {}),
    "shared_block": ((), {}),
    "shortcut_matrices": (({"option B": MASK.float().tolist()},), {}),
    "signal_through_blocks": (({"gamma = 1": [1.0] * 16},), {}),
    "specimen_block": ((), {}),
    "stage_budget": (({"memory": {"stem": 1.0, "head": 2.0}},), {}),
    "stage_chains": (((1,), ("64 × 56 × 56", "256 × 56 × 56")), {}),
    "stage_costs": ((), {}),
    "start_of_training_curves": (({"plain": FELL},), {}),
    "time_shares": (({"3×3": 1.0}, {"3×3": 1.0}), {"where": "here"}),
}


def drawing_functions() -> dict[str, inspect.Signature]:
    """Every public function of the package that returns a drawing."""
    public = {name: getattr(figures, name) for name in dir(figures)}
    signatures = {name: inspect.signature(each) for name, each in public.items() if inspect.isfunction(each)}
    return {name: each for name, each in signatures.items() if each.return_annotation == "Drawing"}


def test_every_figure_is_tried():
    assert set(CALLS) == set(drawing_functions())


def test_no_figure_has_the_name_of_its_file():
    # Once a file has been imported, its own name in the package stands for the file.
    files = {path.stem for path in (ROOT / "resnet_tutorial" / "figures").glob("*.py")}
    assert not files & set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_figure_describes_itself(name):
    arguments, options = CALLS[name]
    drawing = getattr(figures, name)(*arguments, **options)
    assert shortcoming(drawing.alt) == ""
    assert "nan" not in drawing.alt.lower().split() and "None" not in drawing.alt
    assert drawing.alt == options.get("alt", drawing.alt)  # what the caller says is what is read out
    opening = re.match(r"<svg [^>]*>", drawing.svg)[0]
    assert 'role="img"' in opening
    assert unescape(re.search(r'aria-label="([^"]*)"', opening)[1]) == drawing.alt


# --- the chapters, which describe some figures themselves ---


def written(node: ast.expr) -> str:
    """The words of a description as it stands in the source; what is computed counts for nothing."""
    return " ".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def described_in(path) -> list[tuple[int, ast.Call]]:
    """The calls of a chapter that draw a figure whose description the caller writes, with the line of their cell."""
    asked = {name for name, signature in drawing_functions().items() if "alt" in signature.parameters}
    return [
        (cell.line, node)
        for cell in read_chapter(path).code()
        if cell.source.strip() and not cell.source.startswith("# source:")
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr in asked) == ("figures", True)
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.md")), ids=lambda path: path.stem)
def test_a_chapter_describes_the_figures_that_it_composes(path):
    poor = []
    for line, call in described_in(path):
        (alt,) = [keyword.value for keyword in call.keywords if keyword.arg == "alt"]
        if shortcoming(written(alt)):
            poor.append(f"{path.name}:{line}: {call.func.attr}: {shortcoming(written(alt))}")
    assert poor == []


def test_chapters_do_compose_figures():
    assert sum(len(described_in(path)) for path in (ROOT / "book").glob("[01]*.md")) >= 10


PICTURES = ["README.md", "CONTRIBUTING.md", *(f"book/{path.name}" for path in sorted((ROOT / "book").glob("*.md")))]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_from_a_file_is_described(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [*re.findall(r"!\[([^\]]*)\]\([^)]*\)", text)]
    found += [(re.search(r'\balt="([^"]*)"', tag) or [None, None])[1] for tag in re.findall(r"<img\b[^>]*>", text)]
    assert [shortcoming(each) for each in found if shortcoming(each)] == []


# --- the pages, where they are built ---


@pytest.mark.book
def test_every_picture_of_the_built_pages_is_described(html):
    poor, seen = [], 0
    for page in sorted((html / "book").glob("*.html")):
        text = page.read_text(encoding="utf-8")
        article = re.search(r'<article class="bd-article".*?</article>', text, re.S)[0]
        for tag in re.findall(r'<img\b[^>]*>|<[a-z]+\b[^>]*\brole="img"[^>]*>', article):
            seen += 1
            label = re.search(r'\b(?:aria-label|alt)="([^"]*)"', tag)
            if wrong := shortcoming(unescape(label[1]) if label else None):
                poor.append(f"{page.name}: {wrong}")
    assert poor == [] and seen > 40
