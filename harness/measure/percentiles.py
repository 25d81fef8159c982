"""Percentiles of the latency of single inferences."""

from __future__ import annotations

import numpy as np

from harness.records.record import PERCENTILES, Inferences


def percentiles(seconds: np.ndarray) -> Inferences:
    """Those of some inferences, [n], beyond which at least one of them lies."""
    known = {
        name: 1e3 * float(np.percentile(seconds, share))
        for name, share in PERCENTILES.items()
        if len(seconds) * (100 - share) >= 99.999
    }
    return Inferences(count=len(seconds), **known)
