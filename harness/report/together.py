"""The results of several folders on one page, as of several days or machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.errors import InputError
from harness.report.data import Cell, Group, Results, grouped, load
from harness.report.wording import listed

_MOST_NAMED = 4


def load_together(folders: Sequence[Path]) -> Results:
    """The cells of all folders, those of one model together. Where there are several folders, the
    targets' names have theirs, so that cells that were not measured together are not compared.

    Raises InputError for a folder without results, and for one that is given twice.
    """
    if len(folders) == 1:
        return load(folders[0])
    resolved = [folder.resolve() for folder in folders]
    if len({*resolved}) < len(folders):
        raise InputError("a folder is given twice; expected different ones")
    labels = _labels(resolved)
    found = [_labelled(load(folder), label) for folder, label in zip(folders, labels, strict=True)]
    cells = [cell for results in found for cell in results.cells]
    models = list(dict.fromkeys(cell.key.model for cell in cells))
    cells.sort(key=lambda cell: models.index(cell.key.model))
    return Results(
        name=listed([*dict.fromkeys(results.name for results in found)], _MOST_NAMED),
        folder=listed([str(folder) for folder in folders], _MOST_NAMED),
        table=pd.concat([results.table for results in found]),
        cells=tuple(cells),
        groups=_with_runs(grouped(cells), dict(zip(map(str, folders), labels, strict=True))),
    )


def _with_runs(groups: Sequence[Group], labels: Mapping[str, str]) -> tuple[Group, ...]:
    """The groups, of which the first of each run of the same cells knows the later ones."""
    same: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        cell = group.cells[0]
        assert cell.named is not None
        labelled = replace(group, run=labels[cell.folder])
        same.setdefault((cell.named.place, group.kind), []).append(labelled)
    runs = {}
    for found in same.values():
        first, *later = sorted(found, key=_measured)
        runs[first.place, first.kind] = (first, *later) if later else ()
    return tuple(replace(group, runs=runs.get((group.place, group.kind), ())) for group in groups)


def _measured(group: Group) -> str:
    """When the group's cells were finished, as far as that is known."""
    return max((cell.record.finished_at or "" for cell in group.cells), default="")


def _labels(folders: Sequence[Path]) -> list[str]:
    """As many of each folder's last names as tell them apart."""
    count = 1
    while len({folder.parts[-count:] for folder in folders}) < len(folders):
        count += 1
    return ["/".join(folder.parts[-count:]) for folder in folders]


def _labelled(results: Results, label: str) -> Results:
    def named(target: str) -> str:
        return f"{target} in {label}"

    def relabelled(cell: Cell) -> Cell:
        key = cell.key.model_copy(update={"target": named(cell.key.target)})
        return replace(
            cell, record=cell.record.model_copy(update={"key": key}), folder=results.folder
        )

    table = results.table.assign(target=results.table["target"].map(named).astype("string"))
    return replace(results, cells=tuple(map(relabelled, results.cells)), table=table)
