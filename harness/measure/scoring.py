"""Whether a network that is not compressed scores as the reference does on the same samples.

Outputs are verified on a few inputs. All labelled samples go through both networks when they are
scored, so that a kernel which is wrong on other inputs shows there.
"""

from __future__ import annotations

import math

import numpy as np

from harness.records.accuracy import score
from harness.records.record import AGREEMENT, Accuracy

_MOST_DIFFERENT = 0.01
"""The share of samples, or of a score, by which rounding may change what is nearly a tie."""


def scored_otherwise(ours: Accuracy | None, theirs: Accuracy | None) -> str | None:
    """How a score differs from the reference's by more than rounding explains; None where it does
    not, or where the two were not scored alike."""
    if ours is None or theirs is None or ours.metric == AGREEMENT:
        return None
    if (ours.metric, ours.samples) != (theirs.metric, theirs.samples):
        return None
    scores = f"{ours.metric} {score(ours.value)}, of the reference {score(theirs.value)}"
    if ours.outcomes is not None and theirs.outcomes is not None:
        count = _different(ours.outcomes, theirs.outcomes)
        allowed = max(1, math.floor(_MOST_DIFFERENT * ours.samples))
        return f"{scores}: {count} of {ours.samples} samples differ" if count > allowed else None
    if not (ours.defined or theirs.defined):
        return None
    size = max(abs(ours.value), abs(theirs.value))
    alike = ours.defined and theirs.defined
    alike = alike and abs(ours.value - theirs.value) <= _MOST_DIFFERENT * max(size, _MOST_DIFFERENT)
    return None if alike else f"{scores}, on {ours.samples} samples"


def _different(first: str, second: str) -> int:
    bits = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in (first, second)]
    return int(np.unpackbits(np.bitwise_xor(*bits)).sum())
