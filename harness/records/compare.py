"""Compares two results folders cell by cell: faster, slower, no different, undecided, failed or
less accurate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.records.accuracy import score
from harness.records.record import Accuracy, CellKey, Record, Status
from harness.records.store import Store
from harness.specs.documents import Frozen
from harness.statistics.verdicts import BUSY_SCATTER, MINIMUM_EFFECT, Verdict, compare_independent

Raw = Mapping[str, np.ndarray]
"""Fingerprint to seconds per inference, of one session."""

# Facts that change from minute to minute, and parts of a specification about machines, not cells.
_VOLATILE = frozenset({"load_average", "memory_free_mb"})
_BESIDE_THE_POINT = frozenset({"limits", "target.hardware", "target.description"})
_SHOWN_CHANGES = 3


class Difference(Frozen):
    """One fact that is not the same in A and B, such as the version of a library."""

    name: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.name}: {self.a} → {self.b}"


class CellComparison(Frozen):
    """One cell in A and in B.

    `latency` is B's against A's, None where it cannot be had (`notes` then says why); `regressions`
    has a sentence for each regression beyond the tolerance, and `undecided` the reason of an
    undecided latency; both are empty otherwise.
    """

    key: CellKey
    status_a: Status
    status_b: Status
    median_ms_a: float | None
    median_ms_b: float | None
    latency: Verdict | None
    accuracy_a: Accuracy | None
    accuracy_b: Accuracy | None
    regressions: tuple[str, ...]
    undecided: tuple[str, ...]
    notes: tuple[str, ...]


class Comparison(Frozen):
    """Two results folders against each other; `cells` are those in both, in A's order."""

    threshold: float
    cells: tuple[CellComparison, ...]
    only_in_a: tuple[CellKey, ...]
    only_in_b: tuple[CellKey, ...]
    environment: tuple[Difference, ...]
    cautions: tuple[str, ...]

    @property
    def regressed(self) -> tuple[CellComparison, ...]:
        return tuple(cell for cell in self.cells if cell.regressions)

    @property
    def undecided(self) -> tuple[CellComparison, ...]:
        return tuple(cell for cell in self.cells if cell.undecided)


def compare_results(store_a: Store, store_b: Store, threshold: float = 0.05) -> Comparison:
    """Compare the cells that have the same names in both stores.

    A regression is a cell that is slower by more than `threshold` (a share: 0.05 is 5 %), one that
    was ok and failed, or one whose accuracy fell below the interval it had or is no number any
    more. "No difference" is within `threshold` of 1 where that is below the usual minimum effect.
    Raises InputError when no cell is in both.
    """
    records_a = {record.key: record for record in store_a.records()}
    records_b = {record.key: record for record in store_b.records()}
    shared = [key for key in records_a if key in records_b]
    if not shared:
        raise InputError(
            f"{store_a.path} ({len(records_a)} cells) and {store_b.path} ({len(records_b)} cells) "
            "have no cell in common; cells are matched by model, target, settings, configuration "
            "and engine"
        )
    pairs = [(records_a[key], records_b[key]) for key in shared]
    cells = tuple(
        _compare_cell(a, b, _raw_samples(store_a, a), _raw_samples(store_b, b), threshold)
        for a, b in pairs
    )
    return Comparison(
        threshold=threshold,
        cells=cells,
        only_in_a=tuple(key for key in records_a if key not in records_b),
        only_in_b=tuple(key for key in records_b if key not in records_a),
        environment=_environment_differences(pairs),
        cautions=tuple(_cautions(pairs, cells)),
    )


def _compare_cell(a: Record, b: Record, raw_a: Raw, raw_b: Raw, threshold: float) -> CellComparison:
    regressions: list[str] = []
    undecided: list[str] = []
    notes: list[str] = []
    verdict: Verdict | None = None
    if a.status != b.status:
        change = f"was {a.status}, is {b.status}" + (f": {b.reason}" if b.reason else "")
        (regressions if (a.status, b.status) == ("ok", "failed") else notes).append(change)
    elif a.status != "ok":
        notes.append(f"{a.status} in both")
    elif a.session is not None and (a.session, a.fingerprint) == (b.session, b.fingerprint):
        notes.append("the same measurement in both")
    elif obstacle := _obstacle(a, b, raw_a, raw_b):
        (notes if a.kind == b.kind != "measured" else undecided).append(
            f"latency not compared: {obstacle}"
        )
    else:
        effect = min(MINIMUM_EFFECT, threshold)
        verdict = compare_independent(
            raw_a[a.fingerprint], raw_b[b.fingerprint], minimum_effect=effect
        )
        if verdict.reason:
            undecided.append(verdict.reason)
        if verdict.verdict == "slower" and verdict.ratio > 1 + threshold:
            regressions.append(f"slower by {verdict.ratio - 1:.1%}; {threshold:.1%} is tolerated")
    if a.status == b.status == "ok":
        _compare_accuracy(a.accuracy, b.accuracy, regressions, notes)
    return CellComparison(
        key=a.key,
        status_a=a.status,
        status_b=b.status,
        median_ms_a=a.latency.median_ms if a.latency else None,
        median_ms_b=b.latency.median_ms if b.latency else None,
        latency=verdict,
        accuracy_a=a.accuracy,
        accuracy_b=b.accuracy,
        regressions=tuple(regressions),
        undecided=tuple(undecided),
        notes=(*notes, *_specification_changes(a, b)),
    )


def _obstacle(a: Record, b: Record, raw_a: Raw, raw_b: Raw) -> str | None:
    """Why the latencies of two good records cannot be compared, or None."""
    if a.kind != b.kind:
        return f"{a.kind} in A, {b.kind} in B"
    if a.kind != "measured":
        return f"{a.kind} results have none"
    missing = [
        name
        for name, record, raw in (("A", a, raw_a), ("B", b, raw_b))
        if not len(raw.get(record.fingerprint, ()))
    ]
    return f"no raw samples in {' and '.join(missing)}" if missing else None


def _compare_accuracy(
    a: Accuracy | None, b: Accuracy | None, regressions: list[str], notes: list[str]
) -> None:
    if a is None or b is None:
        if a or b:
            notes.append(f"accuracy not compared: not known in {'A' if a is None else 'B'}")
    elif not (a.defined and b.defined):
        change = f"{b.metric} was {score(a.value)}, is {score(b.value)}"
        (regressions if a.defined else notes).append(change)
    elif (a.metric, a.samples) != (b.metric, b.samples):
        notes.append(
            f"accuracy not compared: {a.metric} on {a.samples} samples in A, "
            f"{b.metric} on {b.samples} in B"
        )
    elif b.value < a.ci_low:
        regressions.append(
            f"{a.metric} fell from {score(a.value)} to {score(b.value)}, "
            f"below its interval ({score(a.ci_low)}–{score(a.ci_high)})"
        )


def _raw_samples(store: Store, record: Record) -> Raw:
    return store.samples(record.session) if record.session else {}


def _cautions(
    pairs: Sequence[tuple[Record, Record]], cells: Sequence[CellComparison]
) -> Iterator[str]:
    """Reasons to doubt the verdicts: a machine with other work, and baselines that moved though
    their version did not, a sign that the machine did."""
    scatter = max((cell.latency.scatter for cell in cells if cell.latency), default=0.0)
    if scatter > BUSY_SCATTER:
        yield (
            f"the machine had other work: single samples scatter by up to {scatter:.0%}, so that "
            "small differences stay undecided; layeredge run … --measure-again measures anew"
        )
    for (a, b), cell in zip(pairs, cells, strict=True):
        versions = [one.environment.get("versions", {}).get(cell.key.engine) for one in (a, b)]
        moved = cell.latency is not None and cell.latency.verdict in ("faster", "slower")
        if cell.latency and moved and versions[0] is not None and versions[0] == versions[1]:
            yield (
                f"{cell.key} is {cell.latency.verdict} ({cell.latency.ratio:.3f} of A) though its "
                f"version is the same, {versions[0]}: the machine may have changed, not the code"
            )


def _environment_differences(pairs: Sequence[tuple[Record, Record]]) -> tuple[Difference, ...]:
    """The differences between the machines and installations of any two records, once each."""
    found: dict[Difference, None] = {}
    for a, b in pairs:
        for difference in _differences(a.environment, b.environment):
            unknown = difference.a.startswith("unknown:") or difference.b.startswith("unknown:")
            if not unknown and difference.name not in _VOLATILE:
                found[difference] = None
    return tuple(found)


def _specification_changes(a: Record, b: Record) -> list[str]:
    changes = [
        str(difference)
        for difference in _differences(a.spec, b.spec)
        if not any(f"{difference.name}.".startswith(f"{part}.") for part in _BESIDE_THE_POINT)
    ]
    more = len(changes) - _SHOWN_CHANGES
    return changes[:_SHOWN_CHANGES] + ([f"and {more} more changes of the cell"] if more > 0 else [])


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    facts_a, facts_b = dict(_flat("", a)), dict(_flat("", b))
    for name in dict.fromkeys([*facts_a, *facts_b]):
        before, after = (str(facts.get(name, "none")) for facts in (facts_a, facts_b))
        if before != after:
            yield Difference(name=name, a=before, b=after)


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested names joined by dots, with their values; None and empty values are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        elif value not in (None, [], ()):
            yield f"{prefix}{name}", value
