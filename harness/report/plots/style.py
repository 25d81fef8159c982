"""Colours, sizes and names that all plots of a report share."""

from __future__ import annotations

from collections.abc import Iterable

INK = "#1b2430"
SOFT = "#5b6675"
FAINT = "#c9d0d8"
GRID = "#e6eaee"
PAPER = "#ffffff"

TEXT_SIZE = 8.5
SMALL_SIZE = 7.5
TITLE_SIZE = 10.0

# Okabe and Ito's palette, told apart with every common form of colour blindness; its yellow, which
# does not show on white, is darkened, and its black is kept for the engines compared with.
# The last four, darker ones, are for larger comparisons.
_PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b5a000", "#7a5195",
    "#6b3a1f", "#14375e", "#a3153f", "#3f6212",
)  # fmt: skip
_ENGINES = ("#3d4652", "#8a94a0", "#b08968", "#6b705c")


def colors(configurations: Iterable[str], engines: Iterable[str]) -> dict[str, str]:
    """A colour for each configuration and each baseline engine, by name, in order of appearance.

    With more names than colours they are used again; labels beside the marks tell them apart.
    """
    chosen = {
        name: _PALETTE[at % len(_PALETTE)] for at, name in enumerate(dict.fromkeys(configurations))
    }
    for at, name in enumerate(dict.fromkeys(engines)):
        chosen.setdefault(name, _ENGINES[at % len(_ENGINES)])
    return chosen
