"""Pictures of text, drawn with the fonts that come with matplotlib; the same ones every time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSansMono.ttf",
)
_VOCABULARY = """
total street coffee invoice number exit open market water station price museum ticket garden hotel
office order phone north bridge school today window kitchen train yellow paper summer doctor village
island pepper winter camera flight letter Monday Friday August England London Thank Please Notice
Warning Office Private Parking Receipt Account Library Welcome Danger
"""
WORDS = tuple(_VOCABULARY.split())

MIN_CONTRAST = 30
MAX_GRAIN = 25.0
"""Both in steps of 255."""

GAP = 5
"""Pixels between lines, and between a line and the edge, at least."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels; right and bottom are outside the box."""


@dataclass(frozen=True)
class Picture:
    """`pixels` uint8 [height, width, 3] (red, green, blue), and each line's box.

    A line's box is a typesetter's box: as wide as the text advances, and as high as the
    font's ascent and descent, whichever letters there are.
    """

    pixels: np.ndarray
    boxes: tuple[Box, ...]


@cache
def _font(name: str, size: int) -> FreeTypeFont:
    from matplotlib import get_data_path
    from PIL import ImageFont

    path = Path(get_data_path()) / "fonts" / "ttf" / name
    # The basic layout, so that an installed text-shaping library does not move the letters.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _phrase(chance: random.Random, parts: int) -> str:
    """A word, then words and numbers. No number alone: upside down, 69 is as good as upright."""
    text = chance.choice(WORDS)
    for _ in range(parts - 1):
        number = chance.random() < 0.3
        text += f" {chance.randrange(10, 10_000) if number else chance.choice(WORDS)}"
    return text


def _colours(chance: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Paper and ink: greys with a tint, `MIN_CONTRAST` or more apart."""
    contrast = chance.randint(MIN_CONTRAST, 200)
    dark = chance.randint(10, 245 - contrast)
    shades = [dark + contrast, dark]
    if chance.random() < 0.3:
        shades.reverse()
    paper, ink = (tuple(shade + chance.randint(-10, 10) for _ in range(3)) for shade in shades)
    return paper, ink


def _grainy(image: Image, chance: random.Random) -> np.ndarray:
    """The image's pixels with a camera's grain: normal noise, a different amount in each image."""
    amount = chance.uniform(0, MAX_GRAIN)
    # RandomState, because its stream is promised never to change.
    grain = np.random.RandomState(chance.randrange(2**32)).normal(0, amount, (*image.size[::-1], 3))
    return np.clip(np.asarray(image) + grain, 0, 255).round().astype(np.uint8)


def scattered_lines(seed: str, side: int) -> Picture:
    """A square page of `side` pixels with one to four lines of text that do not touch."""
    from PIL import Image, ImageDraw

    chance = random.Random(seed)
    paper, ink = _colours(chance)
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    boxes: list[Box] = []
    wanted = chance.randint(1, 4)
    for _ in range(20 * wanted):
        font = _font(chance.choice(FONTS), chance.randint(9, 22))
        text = _phrase(chance, chance.randint(1, 2))
        width, height = math.ceil(font.getlength(text)), sum(font.getmetrics())
        if width > side - 2 * GAP:
            continue
        x = chance.randint(GAP, side - width - GAP)
        y = chance.randint(GAP, side - height - GAP)
        box = (x, y, x + width, y + height)
        if any(_near(box, other) for other in boxes):
            continue
        draw.text((x, y), text, font=font, fill=ink)
        boxes.append(box)
        if len(boxes) == wanted:
            break
    return Picture(_grainy(image, chance), tuple(boxes))


def single_line(seed: str, height: int, max_width: int, *, upside_down: bool) -> Picture:
    """One line of text, cropped tightly, scaled to `height` pixels, and turned by 180° or not."""
    from PIL import Image, ImageDraw

    chance = random.Random(seed)
    paper, ink = _colours(chance)
    font = _font(chance.choice(FONTS), chance.randint(9, 32))
    text = _phrase(chance, chance.randint(1, 3))
    left, top, right, bottom = font.getbbox(text)
    margin = chance.randint(2, 6)
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, font=font, fill=ink)
    width = min(max_width, -(-image.width * height // image.height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    if upside_down:
        image = image.transpose(Image.Transpose.ROTATE_180)
    return Picture(_grainy(image, chance), ((0, 0, width, height),))


def _near(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2] + GAP
        and other[0] < one[2] + GAP
        and one[1] < other[3] + GAP
        and other[1] < one[3] + GAP
    )
