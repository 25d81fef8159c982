"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.content import Content, Gallery
from harness.report.plots import Picture
from harness.report.wording import printable

_TEMPLATES = Path(__file__).parent / "templates"
_PIXELS_PER_POINT = 4 / 3


def render(content: Content) -> str:
    """The whole page: styles, script and pictures are inside it, and it asks for nothing else."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.tests["gallery"] = lambda section: isinstance(section, Gallery)
    environment.filters["pixels"] = lambda points: round(points * _PIXELS_PER_POINT)
    return printable(environment.get_template("page.html.j2").render(content=content))


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
