"""Narrows records to one model, and to names and settings that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError, unknown_name
from harness.records.record import Record
from harness.specs.settings import AXES, Axis, Settings


def narrow(
    records: Sequence[Record],
    *,
    model: str | None = None,
    target: str | None = None,
    engine: str | None = None,
    configuration: str | None = None,
    settings: Settings | None = None,
) -> list[Record]:
    """The records of one model, and of one target, engine, configuration and settings where given.
    Raises InputError for a name or value that is not there, where one of several models or
    workloads has to be named, and where there are no records."""
    if not records:
        raise InputError(
            "no cell has a result yet; records are written when a group of cells is done"
        )
    wanted_names = {
        "model": model,
        "target": target,
        "engine": engine,
        "configuration": configuration,
    }
    for kind, wanted in wanted_names.items():
        known = {getattr(record.key, kind) for record in records}
        if wanted is not None:
            if wanted not in known:
                raise unknown_name(kind, wanted, known)
            records = [record for record in records if getattr(record.key, kind) == wanted]
        elif kind == "model" and len(known) > 1:
            names = ", ".join(sorted(known))
            raise InputError(f"there are {len(known)} models; choose one with --model: {names}")
    for name, axis in AXES.items():
        records = _at(records, name, axis, getattr(settings, name, None))
    return list(records)


def _at(records: Sequence[Record], name: str, axis: Axis, wanted: int | None) -> Sequence[Record]:
    """The records with the value `wanted` on an axis, or all where it is None."""
    values = {getattr(record.key.settings, name) for record in records}
    known = ", ".join(str(value) for value in sorted(values - {None}))
    if wanted is not None:
        found = [one for one in records if getattr(one.key.settings, name) == wanted]
        if not found:
            raise InputError(f"no cell with {name} {wanted}; known: {known or 'none'}")
        return found
    if axis.workload and len(values) > 1:
        raise InputError(
            f"cells differ in {name}, so their figures do not compare; choose one with "
            f"--{name}: {known}"
        )
    return records
