"""When one network is less accurate than another: the rule that `select` and reports share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from harness.records.record import AGREEMENT, BASELINE_CONFIGURATION, Accuracy, Record

LEAST_AGREEMENT = 7 / 8
"""The share of inputs on which a network without labelled data must agree with the uncompressed
one. A test cannot decide on the four inputs that are usual, of which half agree by chance."""
_SEED = 0
_FEW = 100


def of_few(found: Accuracy) -> str:
    """How many labelled samples a score is of, where they are few and its interval is wide."""
    few = found.samples < _FEW and found.metric != AGREEMENT
    return f" ({found.samples} samples)" if few else ""


def score(value: float) -> str:
    """A score for people: four digits, or `NaN`."""
    return "NaN" if math.isnan(value) else f"{value:.4g}"


def gain(ours: Accuracy, theirs: Accuracy) -> tuple[float, float]:
    """The 95 % interval of how much more accurate the first is than the second.

    Sample by sample where both records have their outcomes; otherwise from the intervals of the
    two. A score that is not a number is below every number: both ends are -inf or inf
    then, and -inf to inf where neither is a number.
    """
    from harness.statistics.shares import paired_share_interval  # SciPy takes a second to import

    if not (ours.defined and theirs.defined):
        return (math.inf if ours.defined else -math.inf), (
            -math.inf if theirs.defined else math.inf
        )
    if ours.outcomes is None or theirs.outcomes is None or ours.samples != theirs.samples:
        return ours.ci_low - theirs.ci_high, ours.ci_high - theirs.ci_low
    one, two = (
        np.unpackbits(np.frombuffer(bytes.fromhex(each.outcomes or ""), np.uint8)).astype(bool)
        for each in (ours, theirs)
    )
    return paired_share_interval(
        int((one & ~two).sum()), int((two & ~one).sum()), ours.samples, _SEED
    )


def is_clearly_less(ours: Accuracy, theirs: Accuracy) -> bool:
    """Whether the first score is below the second by more than chance explains.

    Scores of different metrics do not compare. Agreement with the reference is not tested but held
    against `LEAST_AGREEMENT`.
    """
    if ours.metric != theirs.metric:
        return False
    if ours.metric == AGREEMENT:
        return ours.value < min(LEAST_AGREEMENT, theirs.value)
    # The value decides first: an interval can be as good as empty where all samples are alike.
    return not ours.value >= theirs.value and gain(ours, theirs)[1] < 0


def is_less_accurate(record: Record, reference: Record | None) -> bool:
    """Whether a cell is clearly less accurate than the uncompressed network, `reference`.

    One whose score is no number always is, and one that was not scored never. An uncompressed one
    of which only agreement is known is not: its outputs were verified against the same reference.
    """
    ours, theirs = record.accuracy, reference.accuracy if reference else None
    if ours is None or not ours.defined:
        return ours is not None
    if theirs is None or (ours.metric == AGREEMENT and not record.is_compressed):
        return False
    return is_clearly_less(ours, theirs)


def uncompressed(records: Iterable[Record]) -> Record | None:
    """The cell of the uncompressed network that accuracy is held against, None without any.

    It is that of the engine that outputs are verified against, else of another baseline engine,
    else a configuration with all its edges; one whose score is a number goes before all others.
    """

    known = list(records)
    verified_against = {each.verification.reference for each in known if each.verification}

    def order(record: Record) -> tuple[bool, bool, bool]:
        assert record.accuracy is not None
        return (
            not record.accuracy.defined,
            record.key.configuration != BASELINE_CONFIGURATION,
            record.key.engine not in verified_against,
        )

    scored = [
        record
        for record in known
        if record.status == "ok" and not record.is_compressed and record.accuracy is not None
    ]
    return min(scored, key=order, default=None)
