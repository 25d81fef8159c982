"""What accesses memory outside its arguments is found, on either side, and what does not is not."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest

from harness.compiler.api import tvm
from harness.devices.memory import access_check
from harness.devices.memory.access_check import access_outside, on_arrays
from harness.devices.memory.guard_pages import GuardedMemory
from harness.devices.threads.fork_join import use_fork_join


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


@pytest.mark.slow
def test_kernel_that_fails_or_does_not_end_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(arrays: Sequence[np.ndarray]) -> None:
        raise ValueError

    assert "fails with guard pages" in (access_outside(failing, arguments()) or "")
    monkeypatch.setattr(access_check, "_SECONDS", 1)

    def endless(arrays: Sequence[np.ndarray]) -> None:
        while True:
            pass

    assert "does not end in 1 s" in (access_outside(endless, arguments()[:1]) or "")


def test_loops_of_other_threads_are_run_in_the_forked_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "2")
    use_fork_join.cache_clear()
    assert access_outside(lambda arrays: None, arguments()) is None


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "waited", "said"), [("_SECONDS", 0, None), ("_WAITED", 2, "1")])
def test_time_is_the_processors_or_much_of_the_clocks(
    monkeypatch: pytest.MonkeyPatch, limit: str, waited: int, said: str | None
) -> None:
    """On a busy machine a kernel waits for the processor; one that waits for ever takes none."""
    monkeypatch.setattr(access_check, limit, 1)
    found = access_outside(lambda _: time.sleep(waited or 1.5), arguments()[:1])
    assert (found is None) if said is None else f"does not end in {said} s" in (found or "")


def test_types_that_numpy_has_as_extensions_are_passed_on() -> None:
    """In the same memory, as kernels write there."""
    given = np.array([1, 2.5, -3]).astype(ml_dtypes.bfloat16)
    held = GuardedMemory.of(given.nbytes, "behind").holding(given)
    seen: list[str] = []

    def kernel(tensor: tvm.runtime.Tensor) -> None:
        seen.append(str(tensor.dtype))
        tensor.copyfrom(np.array([4, 5, 6]).astype(ml_dtypes.bfloat16))

    on_arrays(kernel)([held])
    assert seen == ["bfloat16"] and held.astype(np.float32).tolist() == [4, 5, 6]
