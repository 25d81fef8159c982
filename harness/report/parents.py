"""The configuration that another one extends by a step, as `tuned` extends `fused`."""

from __future__ import annotations

import json

from harness.report.data import Cell, Group


def parent_of(cell: Cell, group: Group) -> Cell | None:
    """The timed configuration with most of a cell's steps and no others, the last one planned of
    several. Where there is none, the timed one before the cell in the plan; None for the first."""
    before = group.own[: group.own.index(cell)]
    wanted = _steps(cell)
    fewer = [other for other in group.own if _steps(other) < wanted]
    most = max((len(_steps(other)) for other in fewer), default=0)
    nearest = [other for other in fewer if len(_steps(other)) == most]
    return next(reversed(nearest or before), None)


def _steps(cell: Cell) -> frozenset[tuple[str, str]]:
    """The steps of a configuration, each with its settings; unfused has none."""
    configuration = cell.record.spec.get("configuration") or {}
    return frozenset(
        (name, json.dumps(value, sort_keys=True, default=str))
        for name, value in configuration.items()
        if name != "name" and value not in (None, "none")
    )
