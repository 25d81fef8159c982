"""What a kernel accesses outside its intermediate results is found as what it does outside its
arguments is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.compiler.api import te, tirx, tvm
from harness.devices.memory import temporaries
from harness.devices.memory.access_check import access_outside, on_arrays
from harness.devices.memory.guard_pages import GuardedMemory, Side
from harness.devices.memory.temporaries import guarded_temporaries, loading_for_guards

EXTENT = 64


def through_a_temporary(off: int) -> Any:
    """A kernel that doubles a square in memory of its own, and reads there some rows away."""
    source = te.placeholder((EXTENT, EXTENT), name="source")
    doubled = te.compute((EXTENT, EXTENT), lambda y, x: source[y, x] * 2.0, name="doubled")
    result = te.compute(
        (EXTENT, EXTENT),
        lambda y, x: tirx.max(doubled[y, x], tirx.min(doubled[y + off, x], tirx.const(-1e38))),
        name="result",
    )
    kernel = te.create_prim_func([source, result])
    return tvm.compile(tvm.IRModule({"main": kernel}), target="llvm").jit()["main"]


@pytest.mark.parametrize(
    ("off", "found"),
    [
        (0, None),
        (EXTENT, "accesses memory behind an intermediate result"),
        (-EXTENT, "accesses memory before an intermediate result"),
    ],
)
def test_access_outside_an_intermediate_result_is_found(
    off: int, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    with loading_for_guards():
        kernel = on_arrays(through_a_temporary(off))
    square = np.ones((EXTENT, EXTENT), np.float32)
    assert access_outside(kernel, [square, np.zeros_like(square)]) == found


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Side | None]:
    """The side of each piece of memory that is mapped."""
    sides: list[Side | None] = []
    of = temporaries.GuardedMemory.of

    def counted(size: int, side: Side | None) -> GuardedMemory:
        sides.append(side)
        return of(size, side)

    monkeypatch.setattr(temporaries.GuardedMemory, "of", counted)
    return sides


def test_what_is_loaded_later_has_the_memory_of_tvm_again(given: list[Side | None]) -> None:
    with loading_for_guards():
        guarded = through_a_temporary(0)
    plain = through_a_temporary(0)
    for kernel, calls in ((guarded, 1), (plain, 1)):
        square = np.ones((EXTENT, EXTENT), np.float32)
        found = tvm.runtime.tensor(np.zeros_like(square))
        kernel(tvm.runtime.tensor(square), found)
        np.testing.assert_array_equal(found.numpy(), 2 * square)
        assert len(given) == calls


def test_a_kernel_that_asks_for_memory_in_every_step_gets_the_same_again(
    given: list[Side | None],
) -> None:
    """Of one size and on one side; a forked process does not take what was guarded elsewhere."""
    with loading_for_guards():
        kernel, outside = through_a_temporary(0), on_arrays(through_a_temporary(EXTENT))
    square = np.ones((EXTENT, EXTENT), np.float32)
    arguments = tvm.runtime.tensor(square), tvm.runtime.tensor(square)
    with guarded_temporaries(None):
        for _ in range(3):
            kernel(*arguments)
        assert given == [None]
        with guarded_temporaries("behind"):
            kernel(*arguments)
            assert given == [None, "behind"]
        assert access_outside(outside, [square, np.zeros_like(square)]) is not None
