"""The machine, versions, settings and seeds of the measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records.record import Record
from harness.report.data import Results
from harness.report.tables.model import Entry, Table, make_table
from harness.report.wording import MISSING, number

_SHOWN_VALUES = 4
_LONGEST = 200
_FROM_SPEC = ("measure", "limits", "seed")


def environment_table(results: Results) -> Table:
    """A row a fact, a column a target; if cells differ, each value with the number of cells."""
    by_target: dict[str, list[dict[str, Any]]] = {}
    for cell in results.cells:
        by_target.setdefault(cell.key.target, []).append(dict(_facts(cell.record)))
    names = list(dict.fromkeys(n for facts in by_target.values() for fact in facts for n in fact))
    rows = [
        {
            "What": Entry(name),
            **{
                target: Entry(_summary([fact[name] for fact in facts if name in fact]))
                for target, facts in by_target.items()
            },
        }
        for name in names
    ]
    return make_table(
        "environment",
        "What was measured where",
        rows,
        reading="Where cells differ, a range, or each value with the number of cells it holds for.",
    )


def _facts(record: Record) -> Iterator[tuple[str, Any]]:
    yield from _flat("", record.environment)
    chosen = {name: record.spec[name] for name in _FROM_SPEC if name in record.spec}
    yield from _flat("", chosen)
    yield "finished at", record.finished_at


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested names joined by dots, with spaces for underscores."""
    for name, value in values.items():
        path = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(f"{path}.", value)
        elif value is not None:
            yield path, value


def _summary(values: list[Any]) -> str:
    if not values:
        return MISSING
    distinct = Counter(_text(value) for value in values)
    if len(distinct) == 1:
        return next(iter(distinct))
    if all(_is_number(value) for value in values):
        return _range(values)
    if all(isinstance(value, list) and all(map(_is_number, value)) for value in values):
        return ", ".join(_range(column) for column in zip(*values, strict=False))
    if all(_is_time(text) for text in distinct):
        return f"{min(distinct)} to {max(distinct)}"
    said = [f"{text} ({count})" for text, count in distinct.most_common(_SHOWN_VALUES)]
    more = len(distinct) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more > 0 else "")


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return _text(", ".join(_text(item) for item in value)) or MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _is_time(text: str) -> bool:
    """Whether a text is an ISO 8601 date and time, which sorts as text."""
    return len(text) >= 19 and text[4:5] == text[7:8] == "-" and text[10:11] == "T"
