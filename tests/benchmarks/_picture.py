"""The picture of a run: how long cup takes beside each peer, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from ._harness import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._harness import Figures

LEFT = 460  # pixels for the names
WIDTH = 420  # for the scale
STEP = 15  # for a line
LEAST, MOST = 0.01, 10.0  # the ratios at both ends of the scale
STYLE = "font-family: sans-serif; font-size: 11px"


def draw(runs: list[Figures]) -> str:
    """Return an SVG document: one bar for each peer of each row."""
    marks = [*_marks(runs)]
    height = (len(marks) + 3) * STEP
    size = f'width="{LEFT + WIDTH + 60}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{STYLE}">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_scale(height),
    ]
    for number, mark in enumerate(marks):
        lines.append(mark.replace("$Y", str((number + 2) * STEP)))
    return "\n".join([*lines, "</svg>\n"])


def _scale(height: int) -> Iterator[str]:
    for ratio in (0.01, 0.1, 1.0, 10.0):
        x = _x(ratio)
        colour = "#888" if ratio == 1 else "#ddd"
        yield f'<line x1="{x}" x2="{x}" y1="{STEP}" y2="{height}" stroke="{colour}"/>'
        yield f'<text x="{x}" y="11" text-anchor="middle">{ratio:g} x</text>'


def _marks(runs: list[Figures]) -> Iterator[str]:
    """Give each line of the picture; `$Y` stands for its place."""
    for run in runs:
        yield f'<text x="4" y="$Y" font-weight="bold">{escape(run["name"])}</text>'
        for row in run["rows"]:
            ours = min(row["figures"][OURS])
            peers = {
                name: ours / min(figures)
                for name, figures in row["figures"].items()
                if name != OURS and min(figures)
            }
            for name, ratio in peers.items():
                text = f"{_cut(row['title'], 68 - len(name))}, beside {name}"
                yield f'<text x="12" y="$Y">{escape(text)}</text>' + _bar(ratio)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _bar(ratio: float) -> str:
    x, one = _x(ratio), _x(1.0)
    colour = "#2a7" if ratio <= 1 else "#c63"
    left, width = min(x, one), abs(x - one)
    return (
        f'<rect x="{left:.1f}" y="$Y" width="{width:.1f}" height="{STEP - 5}" '
        f'fill="{colour}" transform="translate(0 -9)"/>'
        f'<text x="{LEFT + WIDTH + 4}" y="$Y">{ratio:.2f} x</text>'
    )


def _x(ratio: float) -> float:
    """Return where a ratio is on the scale."""
    bounded = min(max(ratio, LEAST), MOST)
    share = math.log(bounded / LEAST) / math.log(MOST / LEAST)
    return round(LEFT + WIDTH * share, 1)
