"""The picture on the home page: ResNet-50 to scale, each part a link to the chapter that builds it.

`{network-map}` stands for an SVG that is drawn here, at build time. Its colours are variables of `home.css`, so it is
one picture for both modes; without a style sheet it is still a list of links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH, HEIGHT = 900, 372
MIDDLE = 196  # the height at which all maps are centred
PIXEL = 0.98  # units a pixel of the image
CHANNEL = 0.0082  # units a channel
DEPTH = (0.26, 0.18)  # how far a sheet reaches back, in units of its height
LABELS = 262  # where the row of shapes begins
CHIPS = 26  # the row of chapters
MORE_AT = 344  # the row of chapters about the whole

LAYERS = (3, 4, 6, 3)
SHAPES = ((256, 56), (512, 28), (1024, 14), (2048, 7))


@dataclass(frozen=True)
class Sheet:
    """One feature map: left edge, thickness (channels) and height (pixels), in units of the picture."""

    x: float
    thickness: float
    height: float

    @property
    def top(self) -> tuple[float, float]:
        """Return the middle of the top face, where arcs begin and end."""
        return (self.x + (self.thickness + DEPTH[0] * self.height) / 2,
                MIDDLE - self.height * (1 + DEPTH[1]) / 2 + self.height * DEPTH[1] / 2)

    @property
    def right(self) -> float:
        """Return where it ends."""
        return self.x + self.thickness + DEPTH[0] * self.height

    def draw(self) -> str:
        """Return its three visible faces."""
        x, w, h = self.x, max(2.4, self.thickness), self.height
        dx, dy = DEPTH[0] * h, DEPTH[1] * h
        bottom = MIDDLE + (h + dy) / 2
        top = bottom - h
        faces = {
            "front": ((x, bottom), (x + w, bottom), (x + w, top), (x, top)),
            "above": ((x, top), (x + w, top), (x + w + dx, top - dy), (x + dx, top - dy)),
            "side": ((x + w, bottom), (x + w + dx, bottom - dy), (x + w + dx, top - dy), (x + w, top)),
        }
        return "".join(
            f'<path class="map-{name}" d="M{" ".join(f"{a:.1f} {b:.1f}" for a, b in corners)}z"/>'
            for name, corners in faces.items()
        )


@dataclass(frozen=True)
class Part:
    """A part of the picture that leads to a chapter.

    Attributes:
        page: the chapter's file, without its ending.
        kind: the variable of its colour.
        chip: the words at the top, line by line.
        shape: the words below, line by line.
        sheets: its feature maps.
        at: where its chip and its shape are centred.
    """

    page: str
    kind: str
    chip: tuple[str, ...]
    shape: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    at: float

    @property
    def number(self) -> str:
        """Return the chapter's number."""
        return str(int(self.page[:2]))


def parts() -> list[Part]:
    """Return the picture's parts from left to right."""
    image = Sheet(14, 2, 224 * PIXEL)
    stem = Sheet(100, 64 * CHANNEL, 112 * PIXEL), Sheet(148, 64 * CHANNEL, 56 * PIXEL)
    starts, steps = (212, 340, 462, 676), (32, 26, 31, 38)
    stages = [
        tuple(Sheet(start + i * step, channels * CHANNEL, side * PIXEL) for i in range(blocks))
        for start, step, blocks, (channels, side) in zip(starts, steps, LAYERS, SHAPES, strict=True)
    ]
    head = Sheet(812, 2048 * CHANNEL, 2.4), Sheet(846, 1000 * CHANNEL, 2.4)
    chips = (
        ("03_residual_block", "stage1", ("The residual", "block")),
        ("04_bottleneck", "stage2", ("The", "Bottleneck")),
        ("05_conv_and_identity_blocks", "stage3", ("Conv block and", "Identity blocks")),
        ("06_resnet50", "stage4", ("ResNet-50", "whole")),
    )
    found = [Part("02_convolution_shapes", "stem", ("The shape of", "a convolution"), ("stem", "64 × 56 × 56"),
                  (image, *stem), 140)]  # fmt: skip
    for stage, (page, kind, chip) in enumerate(chips):
        channels, side = SHAPES[stage]
        shape = (f"stage {stage + 1}", f"{channels} × {side} × {side}", f"{LAYERS[stage]} blocks")
        row = stages[stage]
        found.append(Part(page, kind, chip, shape, row, (row[0].x + row[-1].right) / 2))
    found.append(Part("08_training", "head", ("Training it", "on images"), ("head", "1000 scores"), head, 846))
    return found


# Chapters about the whole picture, below it: file, words, where they begin.
MORE = (
    ("01_why_depth_fails", "Why depth fails without the arcs", 186),
    ("07_resnext", "ResNeXt: blocks of 32 paths", 492),
    ("10_looking_inside", "Looking inside", 764),
)


def arcs() -> Iterator[tuple[str, str]]:
    """Yield every shortcut's chapter and path: over each block, dashed where a projection changes the shape."""
    drawn = parts()
    last = drawn[0].sheets[-1]
    for part in drawn[1:5]:
        for index, sheet in enumerate(part.sheets):
            (x0, y0), (x1, y1) = last.top, sheet.top
            peak = min(y0, y1) - 34
            kind = "map-projection" if index == 0 else "map-identity"
            yield part.page, (f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}C{x0:.1f} {peak:.1f} {x1:.1f} {peak:.1f} '
                              f'{x1:.1f} {y1:.1f}"/>')  # fmt: skip
            last = sheet


def lettering(lines: tuple[str, ...], x: float, y: float, name: str, gap: float = 17) -> str:
    """Return centred lines of text."""
    rows = "".join(f'<tspan x="{x:.1f}" y="{y + gap * i:.1f}">{escape(line)}</tspan>' for i, line in enumerate(lines))
    return f'<text class="{name}">{rows}</text>'


def tinted(sheet: Sheet, part: Part) -> str:
    """Return a map in its part's colour; the image, which is no layer's output, is grey."""
    drawn = sheet.draw()
    return f'<g style="--part: var(--image)">{drawn}</g>' if sheet.height == 224 * PIXEL else drawn


def draw_part(part: Part, over: str) -> str:
    """Return one part of the picture with its chip, a link."""
    top = part.sheets[-1].top[1]
    left, right = part.sheets[0].x - 6, max(sheet.right for sheet in part.sheets) + 6
    words = f"Chapter {part.number}, {' '.join(part.chip)}: {', '.join(part.shape)}"
    return (
        f'<a href="{part.page}.html" class="map-part" style="--part: var(--{part.kind})" aria-label="{escape(words)}">'
        f'<rect class="map-reach" x="{left:.1f}" y="{CHIPS - 26}" width="{right - left:.1f}" '
        f'height="{LABELS - CHIPS + 74}"/>'
        f'<path class="map-leader" d="M{part.at:.1f} {CHIPS + 44}V{max(CHIPS + 46, top - 34):.1f}"/>'
        f'{over}{"".join(tinted(sheet, part) for sheet in part.sheets)}'
        f'<circle class="map-disc" cx="{part.at:.1f}" cy="{CHIPS - 8}" r="13"/>'
        f'<text class="map-number" x="{part.at:.1f}" y="{CHIPS - 3}">{part.number}</text>'
        f"{lettering(part.chip, part.at, CHIPS + 22, 'map-chip')}"
        f"{lettering(part.shape, part.at, LABELS, 'map-shape')}"
        "</a>"
    )


def draw_more(page: str, words: str, x: float) -> str:
    """Return a link below the picture."""
    number = int(page[:2])
    return (
        f'<a href="{page}.html" class="map-part map-more" style="--part: var(--book-accent)" '
        f'aria-label="Chapter {number}, {escape(words)}">'
        f'<rect class="map-reach" x="{x - 20}" y="{MORE_AT - 20}" width="{46 + 7.6 * len(words):.0f}" height="40"/>'
        f'<circle class="map-disc" cx="{x}" cy="{MORE_AT}" r="13"/>'
        f'<text class="map-number" x="{x}" y="{MORE_AT + 5}">{number}</text>'
        f'<text class="map-chip" x="{x + 21}" y="{MORE_AT + 5}">{escape(words)}</text></a>'
    )


def draw() -> str:
    """Return the whole picture."""
    over: dict[str, str] = {}
    for page, path in arcs():
        over[page] = over.get(page, "") + path
    body = "".join(draw_part(part, over.get(part.page, "")) for part in parts())
    body += f'<text class="map-shape" x="46" y="{LABELS + 78}"><tspan x="46">image</tspan>'
    body += '<tspan x="46" dy="17">3 × 224 × 224</tspan></text>'
    body += "".join(draw_more(*more) for more in MORE)
    return (
        '<figure class="network-map">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="ResNet-50 from image to scores: '
        'each part leads to the chapter that builds it">'
        f"{body}</svg>"
        "<figcaption>ResNet-50 to scale: height and depth are pixels, thickness is channels. "
        "An arc is a shortcut, dashed where a projection changes the shape. "
        "A part and its number lead to the chapter that builds it.</figcaption></figure>"
    )


class NetworkMap(SphinxDirective):
    """`{network-map}`: the picture, in the pages; nothing elsewhere."""

    def run(self) -> list[nodes.Node]:
        """Return the picture as it stands."""
        return [nodes.raw("", draw(), format="html")]


def setup(app: Sphinx) -> dict:
    """Register the directive."""
    app.add_directive("network-map", NetworkMap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
