"""Scores of networks that compute the same are the same, but for ties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.measure.scoring import scored_otherwise
from harness.records.record import AGREEMENT, Accuracy


def share(hits: int, samples: int = 200, first: int = 0) -> Accuracy:
    bits = np.zeros(samples, bool)
    bits[first : first + hits] = True
    value = hits / samples
    outcomes = np.packbits(bits).tobytes().hex()
    return Accuracy(
        value=value, ci_low=0, ci_high=1, metric="top-1", samples=samples, outcomes=outcomes
    )


def error(value: float, metric: str = "negative mean absolute error") -> Accuracy:
    return Accuracy(value=value, ci_low=value, ci_high=value, metric=metric, samples=40)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (share(100), share(100)),
        (share(100), share(102)),
        (share(5, 8), share(6, 8)),
        (error(-0.5), error(-0.501)),
        (error(-1e-7), error(0)),
        (error(math.nan), error(math.nan)),
        (share(100), error(0.1)),
        (error(0.2, AGREEMENT), error(1, AGREEMENT)),
        (share(100), None),
        (None, share(100)),
    ],
)
def test_scores_that_rounding_explains(ours: Accuracy | None, theirs: Accuracy | None) -> None:
    assert scored_otherwise(ours, theirs) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (share(97), share(100), "top-1 0.485, of the reference 0.5: 3 of 200 samples differ"),
        (share(100, first=50), share(100), "100 of 200 samples differ"),
        (share(4, 8), share(6, 8), "2 of 8 samples differ"),
        (error(-51.25), error(0), "-51.25, of the reference 0, on 40 samples"),
        (error(math.nan), error(0.5), "NaN, of the reference 0.5"),
    ],
)
def test_scores_that_differ(ours: Accuracy, theirs: Accuracy, said: str) -> None:
    assert said in (scored_otherwise(ours, theirs) or "")
