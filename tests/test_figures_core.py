"""What every figure promises: a description, ids of its own, the page's text colour."""

import re

from resnet_tutorial import figures
from resnet_tutorial.figures.diagrams import Block


def make_drawing(title: str) -> figures.Drawing:
    return figures.block_diagram(Block(title, ["1×1 conv, 64", "BN"]), alt='A "block"', caption="A <b>.")


def test_the_description_is_in_the_svg_and_in_plain_text():
    bundle = make_drawing("one")._repr_mimebundle_()
    assert 'role="img"' in bundle["text/html"]
    assert "A &quot;block&quot;" in bundle["text/html"]
    assert 'A "block"' in bundle["text/plain"]
    assert "A &lt;b&gt;." in bundle["text/html"]


def test_ids_of_two_drawings_do_not_meet_and_references_resolve():
    first, second = make_drawing("one").svg, make_drawing("two").svg
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'xlink:href="#([^"]+)"', svg))
        assert used <= known


def test_lines_take_the_pages_text_colour():
    svg = make_drawing("one").svg
    assert figures.INK not in svg and "currentColor" in svg


def test_drawing_leaves_a_learners_matplotlib_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    make_drawing("one")
    assert dict(mpl.rcParams) == before
