from __future__ import annotations

import numpy as np
import pytest

from harness.measure.percentiles import percentiles


def test_percentiles_are_of_milliseconds_and_left_out_where_none_lies_beyond() -> None:
    found = percentiles(np.arange(1, 101) / 1e3)
    assert found.count == 100 and found.p50_ms == pytest.approx(50.5)
    assert found.p90_ms == pytest.approx(90.1) and found.p99_ms == pytest.approx(99.01)
    assert found.p999_ms is None
    few = percentiles(np.array([2e-3]))
    assert (few.count, few.p50_ms, few.p90_ms) == (1, None, None)
