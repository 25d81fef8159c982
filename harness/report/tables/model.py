"""The tables of a report, in either form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.data import Cell, Group, Results
from harness.report.wording import MISSING, number, times_as_fast
from harness.specs.settings import AXES, Settings
from harness.statistics.verdicts import Outcome, Verdict

Tone = Literal["", "good", "bad", "quiet"]
PLACES = ("model", "target")
"""What rows can be filtered by."""
_TONES: Mapping[Outcome, Tone] = {
    "faster": "good",
    "slower": "bad",
    "no difference": "",
    "undecided": "quiet",
}


@dataclass(frozen=True)
class Entry:
    """One cell of a table: its text, a second line, and the number it is sorted by.

    Where there is no number it is sorted by its text; a dash comes last, either way round.
    """

    text: str
    detail: str = ""
    sort: float | None = None
    tone: Tone = ""

    @property
    def missing(self) -> bool:
        return self.text == MISSING


@dataclass(frozen=True)
class Table:
    """A heading, an explanation, and rows of entries, one for each column.

    A `folded` one is for looking something up: the page shows its rows when asked.
    """

    name: str
    title: str
    reading: str
    columns: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[Entry, ...], ...]
    folded: bool = False

    @property
    def filled(self) -> bool:
        return bool(self.rows)

    @property
    def places(self) -> dict[str, int]:
        """The columns that a row's model and target are in, of those that there are."""
        return {
            name: self.columns.index(name.capitalize())
            for name in PLACES
            if name.capitalize() in self.columns
        }


def make_table(
    name: str,
    title: str,
    rows: Sequence[Mapping[str, Entry]],
    *,
    reading: str = "",
    without: Sequence[str] = (),
    folded: bool = False,
) -> Table:
    """A table from rows that all have the same columns, leaving out those named in `without`.

    A column is numeric when one of its entries has a number to sort by. A report leaves out tables
    without rows.
    """
    columns = tuple(column for column in (rows[0] if rows else ()) if column not in without)
    return Table(
        name=name,
        title=title,
        reading=reading,
        columns=columns,
        numeric=frozenset(
            column for column in columns if any(row[column].sort is not None for row in rows)
        ),
        rows=tuple(tuple(row[column] for column in columns) for row in rows),
        folded=folded,
    )


def rows_of(
    results: Results, entries: Callable[[Group, Cell], Mapping[str, Entry] | None]
) -> list[dict[str, Entry]]:
    """A row for each cell that there are `entries` of: its place, its configuration, and those."""
    return [
        {**place_entries(group.place), "Configuration": Entry(cell.label), **found}
        for group in results.groups
        for cell in group.cells
        if (found := entries(group, cell)) is not None
    ]


def speed_heading(results: Results) -> str:
    """The heading of speed-ups: over the reference engine, whose name it has where there is one."""
    names = results.reference_names
    return f"Speed-up over {names[0] if len(names) == 1 else 'reference'}"


def why_missing(cell: Cell, otherwise: str) -> str:
    """Why a good cell lacks a figure; a cell that is not good has its reason in its own table."""
    if cell.record.status != "ok":
        return ""
    return cell.record.reason or otherwise


def quantity(value: float | None, *, digits: int = 3, why_missing: str = "") -> Entry:
    """A number, or a dash and the reason."""
    if value is None:
        return Entry(MISSING, detail=why_missing, tone="quiet")
    return Entry(number(value, digits), sort=float(value))


def verdict_entry(found: Verdict) -> Entry:
    """A verdict on latency in words."""
    return Entry(found.verdict, tone=_TONES[found.verdict])


def speed_entry(found: Verdict) -> Entry:
    """How many times as fast, with its interval."""
    text, interval = times_as_fast(found)
    return Entry(f"{text}×", detail=interval, sort=found.times_as_fast[0])


def place_entries(place: tuple[str, str, Settings]) -> dict[str, Entry]:
    """The columns that tell groups of cells apart: model, target, and the settings."""
    model, target, settings = place
    return {"Model": Entry(model), "Target": Entry(target)} | {
        axis.title: Entry(MISSING, tone="quiet") if value is None else count(value)
        for name, axis in AXES.items()
        for value in (getattr(settings, name),)
    }


def count(value: int) -> Entry:
    """A whole number."""
    return Entry(f"{value:,}", sort=float(value))
