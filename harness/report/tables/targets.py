"""Targets side by side: each configuration of a model on each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.data import Cell, Results
from harness.report.tables.model import Entry, Table, make_table
from harness.report.wording import MISSING, number, with_interval
from harness.specs.sweep import Kind

_FIGURES: Mapping[Kind, str] = {
    "measured": "The median latency in ms with its 95 % interval. Targets were measured one after "
    "the other, not interleaved.",
    "emulated-count": "The instructions of an inference: not a latency.",
    "static": "The static estimate in ms: not a latency.",
}


def target_tables(results: Results) -> list[Table]:
    """A table for each kind of which there are several targets; kinds are never put in one."""
    tables = []
    for kind, reading in _FIGURES.items():
        cells = [
            cell
            for cell in results.cells
            if cell.record.kind == kind and cell.record.status == "ok"
        ]
        targets = list(dict.fromkeys(cell.key.target for cell in cells))
        if len(targets) > 1:
            tables.append(
                make_table(
                    f"targets-{kind}",
                    f"Targets side by side ({kind})",
                    _rows(cells, targets),
                    reading=reading,
                )
            )
    return tables


def _rows(cells: Sequence[Cell], targets: Sequence[str]) -> list[dict[str, Entry]]:
    found: dict[tuple[str, str], dict[str, Entry]] = {}
    for cell in cells:
        label = ", ".join(filter(None, (cell.label, str(cell.key.settings))))
        row = found.setdefault((cell.key.model, label), {})
        row[cell.key.target] = _figure(cell)
    missing = Entry(MISSING, tone="quiet")
    return [
        {
            "Model": Entry(model),
            "Configuration": Entry(label),
            **{target: row.get(target, missing) for target in targets},
        }
        for (model, label), row in found.items()
    ]


def _figure(cell: Cell) -> Entry:
    record = cell.record
    if record.latency is not None and cell.timed:
        latency = record.latency
        text, interval = with_interval(latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
        return Entry(text, detail=interval, sort=latency.median_ms)
    if record.instructions is not None:
        return Entry(f"{record.instructions.total:,}", sort=record.instructions.total)
    if record.static is not None and record.static.estimate_ms is not None:
        return Entry(number(record.static.estimate_ms), sort=record.static.estimate_ms)
    return Entry(MISSING, tone="quiet")
