"""The report as Markdown, with its pictures beside it."""

from __future__ import annotations

import re

from harness.report.answers import Answer
from harness.report.content import Content, Gallery
from harness.report.tables import Entry, Table
from harness.report.wording import printable

PLOTS = "plots"
_SPECIAL = re.compile(r"([\\`*|\[\]~])")


def render(content: Content) -> str:
    """The report; pictures are in the folder `plots` beside it."""
    lines = [f"# {escape(content.name)}", ""]
    lines += [f"{escape(line)}" for line in content.summary]
    if content.answers:
        lines += ["", "## What to deploy", ""]
        lines += [_answer(answer) for answer in content.answers]
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


def _answer(answer: Answer) -> str:
    deploy = f"deploy **{escape(answer.deploy)}**" if answer.deploy else "nothing to deploy"
    command = f". {_code(answer.command)}" if answer.command else ""
    said = "; ".join([deploy, *(escape(figure) for figure in answer.figures)])
    return f"- **{escape(answer.title)}**: {said}{command}"


def _code(text: str) -> str:
    """`text` as code, or escaped where it has what could end the code or be taken for HTML."""
    return escape(text) if set(text) & set("`<>&\n") else f"`{text}`"


def _table(table: Table) -> list[str]:
    lines = ["", f"## {table.title}", ""]
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
    pictures = [f"![{escape(picture.alt)}]({PLOTS}/{picture.file})" for picture in gallery.pictures]
    return [*lines, escape(gallery.family.reading), "", *pictures]
