"""The report as Markdown, with its pictures beside it."""

from __future__ import annotations

import re

from harness.report.content import Content, Gallery
from harness.report.tables import Entry, Table
from harness.report.wording import printable

PLOTS = "plots"
_SPECIAL = re.compile(r"([\\`*|\[\]~])")


def render(content: Content) -> str:
    """The report; pictures are in the folder `plots` beside it."""
    lines = [f"# {escape(content.name)}", ""]
    lines += [f"{escape(line)}" for line in content.summary]
    if content.findings:
        lines.append("")
        lines += [
            f"- **{escape(finding.title)}**: {escape(finding.sentence)}"
            for finding in content.findings
        ]
    for section in content.sections:
        if isinstance(section, Table):
            lines += _table(section)
        else:
            lines += _gallery(section)
    return printable("\n".join(lines)) + "\n"


def escape(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would take for markup."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _table(table: Table) -> list[str]:
    lines = ["", f"## {table.title}", ""]
    if not table.rows:
        return [*lines, escape(table.absent)]
    if table.reading:
        lines += [escape(table.reading), ""]
    rule = ["---:" if column in table.numeric else "---" for column in table.columns]
    lines.append(_row([escape(column) for column in table.columns]))
    lines.append(_row(rule))
    return lines + [_row([_entry(entry) for entry in row]) for row in table.rows]


def _entry(entry: Entry) -> str:
    detail = f" ({escape(entry.detail)})" if entry.detail else ""
    return escape(entry.text) + detail


def _row(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _gallery(gallery: Gallery) -> list[str]:
    lines = ["", f"## {gallery.family.title}", ""]
    if not gallery.pictures:
        return [*lines, escape(gallery.family.absent)]
    pictures = [f"![{escape(picture.alt)}]({PLOTS}/{picture.file})" for picture in gallery.pictures]
    return [*lines, escape(gallery.family.reading), "", *pictures]
