"""Memory between guard pages holds what it is given, and knows when something else was written."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices.memory.guard_pages import SIDES, GuardedMemory, Side


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 70), min_size=0, max_size=3),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "bool", "int64"]),
    side=st.sampled_from(["before", "behind", None]),
)
def test_guarded_copies_are_equal_and_aligned(
    shape: list[int], dtype: str, side: Side | None
) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    memory = GuardedMemory.of(array.nbytes, side)
    copy = memory.holding(array)
    assert np.array_equal(copy, array) and copy.dtype == array.dtype and copy.shape == array.shape
    assert copy.ctypes.data % 64 == 0 and copy.flags.c_contiguous
    assert memory.is_intact()
    memory.release()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("offset", [15, 40])
def test_write_behind_the_bytes_is_seen(side: Side, offset: int) -> None:
    memory = GuardedMemory.of(15, side)
    assert memory.is_intact()
    ctypes.c_uint8.from_address(memory.address + offset).value = 7
    assert not memory.is_intact()
    memory.release()
