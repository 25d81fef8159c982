"""What accesses memory outside its arguments is found, on either side, and what does not is not."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices import guard_pages
from harness.devices.fork_join import use_fork_join
from harness.devices.guard_pages import access_outside, guarded


@pytest.fixture(autouse=True)
def serial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "1")


def reads(at: int, offset: int) -> object:
    """A kernel that reads a byte some bytes from an argument's begin."""

    def kernel(arrays: Sequence[np.ndarray]) -> None:
        ctypes.c_uint8.from_address(arrays[at].ctypes.data + offset).value  # noqa: B018

    return kernel


def arguments() -> list[np.ndarray]:
    return [np.arange(64, dtype=np.float32), np.ones((3, 5), np.int8), np.zeros(16, np.float64)]


@pytest.mark.parametrize(
    ("at", "offset", "why"),
    [
        (0, -1, "accesses memory before argument 0"),
        (0, 256, "accesses memory behind argument 0"),
        (1, -(1 << 20), "accesses memory before argument 1"),
        (2, 1 << 20, "accesses memory behind argument 2"),
        (0, 255, None),
        (1, 0, None),
    ],
)
def test_reads_outside_an_argument_are_found(at: int, offset: int, why: str | None) -> None:
    assert access_outside(reads(at, offset), arguments()) == why


@pytest.mark.parametrize("offset", [15, 40, -1])
def test_writes_beside_an_argument_are_found(offset: int) -> None:
    def kernel(arrays: Sequence[np.ndarray]) -> None:
        ctypes.c_uint8.from_address(arrays[1].ctypes.data + offset).value = 7

    assert (access_outside(kernel, arguments()) or "").endswith("argument 1")


def test_kernel_gets_what_it_is_given() -> None:
    given = arguments()

    def kernel(arrays: Sequence[np.ndarray]) -> None:
        assert all(map(np.array_equal, arrays, given))
        assert [each.dtype for each in arrays] == [each.dtype for each in given]
        arrays[2][:] = 3.0

    assert access_outside(kernel, given) is None
    assert not given[2].any(), "the kernel wrote to a copy"


def test_kernel_that_fails_or_does_not_end_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(arrays: Sequence[np.ndarray]) -> None:
        raise ValueError

    assert "fails with guard pages" in (access_outside(failing, arguments()) or "")
    monkeypatch.setattr(guard_pages, "_SECONDS", 1)

    def endless(arrays: Sequence[np.ndarray]) -> None:
        while True:
            pass

    assert "does not end in 1 s" in (access_outside(endless, arguments()[:1]) or "")


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 70), min_size=0, max_size=3),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "bool", "int64"]),
    side=st.sampled_from(["before", "behind", None]),
)
def test_guarded_copies_are_equal_and_aligned(
    shape: list[int], dtype: str, side: guard_pages.Side | None
) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    copy = guarded(array, side)
    assert np.array_equal(copy, array) and copy.dtype == array.dtype and copy.shape == array.shape
    assert copy.ctypes.data % 64 == 0 and copy.flags.c_contiguous


def test_loops_of_other_threads_are_run_in_the_forked_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "2")
    use_fork_join.cache_clear()
    assert access_outside(lambda arrays: None, arguments()) is None
