"""A sheet to draw on in points, and scales that map data to it.

The pictures of a report are many and small. Matplotlib's axes cost more than the drawing in
them, and its texts more than all else; so the plots use its artists without axes, every label is
placed where it is known to be free, and Pillow writes it.
"""

from __future__ import annotations

import functools
import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import LogLocator, MaxNLocator
from matplotlib.transforms import Affine2D, IdentityTransform
from PIL import Image, ImageDraw, ImageFont

from harness.report.plots import style

Point = tuple[float, float]
Marker = Literal["circle", "diamond", "tick"]
_MARKERS: dict[str, str] = {"circle": "o", "diamond": "D", "tick": "|"}
_DOTS_PER_POINT = 2
_ELLIPSIS = "…"
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_ANCHORS = {"left": "lm", "center": "mm", "right": "rm"}
_UPRIGHT = "upright"
_SVG_ANCHORS = {"lm": "start", "mm": "middle", "rm": "end", _UPRIGHT: "end-up"}
_DRAWING = re.compile(r"<svg[^>]*>(?P<inside>.*)</svg>", re.DOTALL)
_COLOR = re.compile(r"#([0-9a-f]{6})\b")
_NOT_DRAWN = re.compile(
    r' id="[a-zA-Z]+_\d+"|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->', re.DOTALL
)
"""Names that every picture has, and the sheet of styles, which would be the whole page's."""


@dataclass(frozen=True)
class _Text:
    """One line of text, vertically centred on (x, y) in points; or upright, ending under it."""

    x: float
    y: float
    text: str
    size: float
    bold: bool
    color: str
    anchor: str


class Canvas:
    """A picture of `width` × `height` points; the origin is the top left corner, y goes down."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / 72, height / 72), dpi=72 * _DOTS_PER_POINT)
        to_inches = Affine2D().scale(1 / 72, -1 / 72).translate(0, height / 72)
        self._to_pixels = to_inches + self._figure.dpi_scale_trans
        self._texts: list[_Text] = []

    def text(
        self,
        at: Point,
        text: str,
        *,
        size: float = style.TEXT_SIZE,
        color: str = style.INK,
        align: Literal["left", "center", "right"] = "left",
        bold: bool = False,
        room: float | None = None,
    ) -> None:
        """Write one line, vertically centred on `at`; shortened to `room` points when given."""
        shown = one_line(text) if room is None else shorten(text, room, size=size, bold=bold)
        self._texts.append(_Text(*at, shown, size, bold, color, _ANCHORS[align]))

    def upright_text(
        self,
        at: Point,
        text: str,
        *,
        size: float = style.TEXT_SIZE,
        color: str = style.INK,
        room: float,
    ) -> None:
        """Write one line that ends under `at` and reads upwards; shortened to `room` points."""
        shown = shorten(text, room, size=size)
        self._texts.append(_Text(*at, shown, size, False, color, _UPRIGHT))

    def lines(
        self,
        paths: Sequence[Sequence[Point]],
        colors: Sequence[str] | str,
        *,
        width: float = 1.0,
        dashed: bool = False,
        layer: float = 2,
    ) -> None:
        """Draw each path as a line through its points."""
        self._add(
            LineCollection(
                paths,
                colors=colors,
                linewidths=width,
                linestyles=[(0, (3, 2))] if dashed else "solid",
                transform=self._to_pixels,
                zorder=layer,
            )
        )

    def boxes(
        self,
        boxes: Sequence[tuple[float, float, float, float]],
        colors: Sequence[str] | str,
        *,
        edges: str = "none",
        hatch: str | None = None,
        layer: float = 1,
    ) -> None:
        """Fill boxes given as (left, top, right, bottom)."""
        corners = [
            [(left, top), (right, top), (right, bottom), (left, bottom)]
            for left, top, right, bottom in boxes
        ]
        self.areas(corners, colors, edges=edges, hatch=hatch, layer=layer)

    def areas(
        self,
        outlines: Sequence[Sequence[Point]],
        colors: Sequence[str] | str,
        *,
        edges: str = "none",
        hatch: str | None = None,
        opacity: float = 1.0,
        layer: float = 1,
    ) -> None:
        """Fill the inside of each outline."""
        self._add(
            PolyCollection(
                outlines,
                facecolors=colors,
                edgecolors=edges,
                hatch=hatch,
                linewidths=0.8,
                alpha=opacity,
                transform=self._to_pixels,
                zorder=layer,
            )
        )

    def dots(
        self,
        points: Sequence[Point],
        colors: Sequence[str] | str,
        *,
        size: float = 5.0,
        marker: Marker = "circle",
        opacity: float = 1.0,
        edges: str = "none",
        layer: float = 3,
    ) -> None:
        """Draw a marker of `size` points across at each point."""
        shape = MarkerStyle(_MARKERS[marker])
        area = size**2 * (0.7 if marker == "diamond" else 1.0)
        collection = PathCollection(
            [shape.get_path().transformed(shape.get_transform())],
            [area],
            offsets=points,
            offset_transform=self._to_pixels,
            facecolors=colors,
            edgecolors=colors if marker == "tick" else edges,
            linewidths=1.0,
            alpha=opacity,
            zorder=layer,
        )
        collection.set_transform(IdentityTransform())
        self._add(collection)

    def png(self) -> bytes:
        """The picture as a PNG file, two pixels a point; the same drawing gives the same bytes."""
        agg: Any = FigureCanvasAgg(self._figure)  # its methods have no types
        agg.draw()
        size = agg.get_width_height()
        image = Image.frombuffer("RGBA", size, agg.buffer_rgba()).convert("RGB")
        pen = ImageDraw.Draw(image)
        for text in self._texts:
            if text.anchor == _UPRIGHT:
                _write_upright(image, text)
                continue
            pen.text(
                (text.x * _DOTS_PER_POINT, text.y * _DOTS_PER_POINT),
                text.text,
                fill=text.color,
                font=_font(text.size * _DOTS_PER_POINT, text.bold),
                anchor=text.anchor,
            )
        file = io.BytesIO()
        # 256 colours are enough for flat drawings, and make the file a third as large.
        palette = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette.save(file, "PNG", compress_level=6)
        return file.getvalue()

    def svg(self, name: str) -> str:
        """The picture as an element of an HTML page. Colours are CSS variables that default to the
        colours of the PNG, so that a page can have others in the dark. `name` tells its parts
        from those of other pictures of the page."""
        file = io.StringIO()
        self._figure.patch.set_visible(False)
        with matplotlib.rc_context({"svg.hashsalt": name}):
            svg: Any = FigureCanvasSVG(self._figure)  # its methods have no types
            svg.print_svg(file, metadata={"Date": None})
        self._figure.patch.set_visible(True)
        drawn = _DRAWING.search(file.getvalue())
        assert drawn is not None
        shapes = _COLOR.sub(r"var(--p-\1, #\1)", _NOT_DRAWN.sub("", drawn["inside"]))
        texts = "".join(map(_svg_text, self._texts))
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{html.escape(self.described())}">{shapes}{texts}</svg>'
        )

    def described(self) -> str:
        """The words and figures of the picture, from top to bottom."""
        ordered = sorted(self._texts, key=lambda text: (round(text.y), text.x))
        return "; ".join(text.text for text in ordered if text.text)

    def _add(self, artist: Artist) -> None:
        artist.set_clip_on(False)
        self._figure.add_artist(artist)


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to points from `start` to `end`, evenly or by ratio."""

    low: float
    high: float
    start: float
    end: float
    by_ratio: bool = False

    def __call__(self, value: float) -> float:
        if self.by_ratio:
            part = math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, about: int = 4) -> list[tuple[float, str]]:
        """Round values inside the scale, each with its label."""
        if self.by_ratio:
            decades = LogLocator(base=10, subs=(1.0,), numticks=about + 3)
            values = _inside(decades.tick_values(self.low, self.high), self.low, self.high)
            if len(values) < 3:
                finer = LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=about + 6)
                values = _inside(finer.tick_values(self.low, self.high), self.low, self.high)
        else:
            locator = MaxNLocator(nbins=about, steps=[1, 2, 2.5, 5, 10])
            values = _inside(locator.tick_values(self.low, self.high), self.low, self.high)
        return [(value, f"{value:.10g}") for value in values]


def linear(values: Sequence[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """An even scale that holds all values with a little room, and zero when asked."""
    low, high = (min(*values, *values), max(*values, *values)) if values else (0.0, 1.0)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return Scale(0.0 if zero else low - room, high + room, start, end)


def by_ratio(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale that holds all (positive) values with a little room."""
    low, high = min(values), max(values)
    room = (high / low) ** 0.06 if high > low else 1.5
    return Scale(low / room, high * room, start, end, by_ratio=True)


def text_width(text: str, *, size: float = style.TEXT_SIZE, bold: bool = False) -> float:
    """Width of one line of text, in points."""
    return _font(size * _DOTS_PER_POINT, bold).getlength(text) / _DOTS_PER_POINT


def shorten(text: str, room: float, *, size: float = style.TEXT_SIZE, bold: bool = False) -> str:
    """`text` on one line, with its middle left out if it is wider than `room` points."""
    shown = one_line(text)
    if text_width(shown, size=size, bold=bold) <= room:
        return shown
    low, high = 1, len(shown)
    while low < high:  # the largest number of characters that fits
        kept = (low + high + 1) // 2
        fits = text_width(_without_middle(shown, kept), size=size, bold=bold) <= room
        low, high = (kept, high) if fits else (low, kept - 1)
    return _without_middle(shown, low)


def one_line(text: str) -> str:
    """`text` with line breaks and control characters made spaces."""
    return " ".join("".join(part if part.isprintable() else " " for part in text).split())


def _without_middle(text: str, kept: int) -> str:
    return text[: kept - kept // 2] + _ELLIPSIS + text[len(text) - kept // 2 :]


def _svg_text(text: _Text) -> str:
    """A text as the PNG has it; the baseline is below its middle by a third of its size."""
    anchor = _SVG_ANCHORS[text.anchor]
    turned = f' transform="rotate(-90 {text.x:.6g} {text.y:.6g})"' if anchor == "end-up" else ""
    weight = ' font-weight="bold"' if text.bold else ""
    return (
        f'<text x="{text.x:.6g}" y="{text.y:.6g}" dy=".35em" font-size="{text.size:g}"{weight} '
        f'text-anchor="{anchor.removesuffix("-up")}"{turned} '
        f'style="fill: var(--p-{text.color[1:]}, {text.color})">{html.escape(text.text)}</text>'
    )


def _inside(values: Any, low: float, high: float) -> list[float]:
    room = (high - low) * 1e-9
    return [float(value) for value in values if low - room <= value <= high + room]


def _write_upright(image: Image.Image, text: _Text) -> None:
    font = _font(text.size * _DOTS_PER_POINT, text.bold)
    length, height = math.ceil(font.getlength(text.text)), math.ceil(sum(font.getmetrics()))
    shape = Image.new("L", (length, height))
    ImageDraw.Draw(shape).text((0, height / 2), text.text, fill=255, font=font, anchor="lm")
    corner = round(text.x * _DOTS_PER_POINT - height / 2), round(text.y * _DOTS_PER_POINT)
    image.paste(text.color, corner, shape.transpose(Image.Transpose.ROTATE_90))


@functools.lru_cache(maxsize=16)
def _font(pixels: float, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it; a glyph it lacks shows as a box."""
    file = _FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    return ImageFont.truetype(file, round(pixels), layout_engine=ImageFont.Layout.BASIC)
