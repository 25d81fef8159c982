"""The real numbers of 8-bit integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lattices import rounded

from harness.quantization.lattice import Lattice

FINITE = st.floats(-1e6, 1e6, width=32)


@given(low=FINITE, high=FINITE, dtype=st.sampled_from(["uint8", "int8"]))
def test_lattice_has_zero_and_reaches_its_range(low: float, high: float, dtype: str) -> None:
    low, high = sorted((low, high))
    try:
        lattice = Lattice.over(low, high, dtype)
    except ValueError:
        assert high - low < 1e-30 or (low <= 0 <= high and high - low < 1e-30)
        return
    limits = np.iinfo(dtype)
    assert limits.min <= lattice.zero_point <= limits.max
    assert rounded(lattice, np.zeros(1)) == 0
    ends = np.array([min(low, 0.0), max(high, 0.0)])
    np.testing.assert_allclose(rounded(lattice, ends), ends, atol=lattice.scale * 1.001)


@given(
    values=st.lists(st.floats(-1, 3, width=32), min_size=1),
    dtype=st.sampled_from(["uint8", "int8"]),
)
def test_values_within_the_range_move_by_half_a_step(values: list[float], dtype: str) -> None:
    lattice = Lattice.over(-1.0, 3.0, dtype)
    low, high = lattice.bounds
    inside = np.clip(np.array(values), low, high)
    assert np.abs(rounded(lattice, inside) - inside).max() <= lattice.scale * 0.5001


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (0.0, np.inf), (np.nan, 1.0), (0.0, 2e-41)])
def test_range_without_width_or_end_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="a range from"):
        Lattice.over(low, high, "uint8")
