"""The report as one HTML page that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.content import Content, Gallery
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
    environment.tests["gallery"] = lambda section: isinstance(section, Gallery)
    environment.filters["pixels"] = lambda points: round(points * _PIXELS_PER_POINT)
    return printable(environment.get_template("page.html.j2").render(content=content))
