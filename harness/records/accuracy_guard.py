"""Names the cells that `select` leaves out for their accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records.accuracy import score, uncompressed
from harness.records.record import CellKey, Record
from harness.specs.sweep import Kind

_NAMED = 10


def reference_of(key: CellKey, kind: Kind, among: Sequence[Record]) -> Record | None:
    """The uncompressed network's cell that a cell's accuracy is held against: one of the same kind
    at the same place, else any of the model."""
    ours = [one for one in among if one.key.model == key.model]
    here = [one for one in ours if one.key.place == key.place and one.kind == kind]
    return uncompressed(here) or uncompressed(ours)


def inaccuracy(record: Record, reference: Record | None) -> str:
    """The score of a cell that is clearly less accurate than the reference, beside that of the
    reference."""
    ours, theirs = record.accuracy, reference.accuracy if reference else None
    assert ours is not None
    comparable = theirs is not None and theirs.metric == ours.metric and theirs.defined
    if reference is None or theirs is None or not comparable:
        return f"{ours.metric} is {score(ours.value)}"
    return (
        f"{ours.metric} {score(ours.value)} is clearly below the {score(theirs.value)} of the "
        f"uncompressed network ({short(reference.key)})"
    )


def left_out(found: Sequence[Record]) -> Iterator[str]:
    """Which cells were left out, and why, for people."""
    reasons = {
        True: "clearly less accurate than the uncompressed network",
        False: "their accuracy is no number",
    }
    for defined, why in reasons.items():
        names = [
            short(one.key) for one in found if one.accuracy and one.accuracy.defined == defined
        ]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield (
                f"{len(names)} left out, {why}: {', '.join(names[:_NAMED])}{more}; "
                "--any-accuracy considers them"
            )


def short(key: CellKey) -> str:
    """A cell of one model and target."""
    return f"{key.configuration} ({', '.join(filter(None, (key.engine, str(key.settings))))})"
