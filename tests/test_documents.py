"""What people read points to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import PROJECT

PAGES = [
    *PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("benchmarks/*.md"),
    *PROJECT.glob("results/**/*.md"),
    PROJECT / "harness/models/catalog/embedded/README.md",
]  # fmt: skip
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith(("http:", "https:", "data:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: nothing there"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


WRITTEN = [page for page in PAGES if "results/reference" not in str(page)]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(PROJECT)))
def test_page_names_its_nouns(page: Path) -> None:
    """Two of a thousand words may be "what", which stands where a noun of the field is missing."""
    words = re.findall(r"[\w'’]+", page.read_text().lower())
    assert words.count("what") <= 2 * len(words) / 1000
