"""Functions that TVM takes for scalar ones are computed in vectors."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness.compiler.api import Schedule, target_of, te, tirx, tvm
from harness.kernels.lowering import use_our_lowering

TARGET = target_of({"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 2})
SCALAR_LOOP = re.compile(r"for_begin\w*\.s\b")
"""The name that TVM gives to a loop over the elements of what it cannot compute in a vector."""


def kernel(name: str) -> tvm.IRModule:
    """A function of 64 numbers, in vectors of eight."""
    source = te.placeholder((64,), name="x")
    result = te.compute((64,), lambda i: tirx.call_intrin("float32", name, source[i]), name="y")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    _, lane = schedule.split(schedule.get_loops(schedule.get_sblock("y"))[0], [None, 8])
    schedule.vectorize(lane)
    return schedule.mod


@pytest.mark.parametrize(
    ("name", "scalar"),
    [("tirx.erf", False), ("tirx.nearbyint", False), ("tirx.rsqrt", False), ("tirx.log1p", True)],
)
def test_vectors_are_not_taken_apart(name: str, scalar: bool) -> None:
    use_our_lowering()
    library = tvm.compile(kernel(name), target=TARGET)
    assert bool(SCALAR_LOOP.search(library.mod.inspect_source("ll"))) == scalar


def test_vectors_are_rounded_to_even() -> None:
    use_our_lowering()
    x = np.linspace(-8, 7.75, 64, dtype=np.float32)
    found = tvm.runtime.tensor(np.zeros(64, np.float32))
    library = tvm.compile(kernel("tirx.nearbyint"), target=TARGET).jit()
    library["main"](tvm.runtime.tensor(x), found)
    np.testing.assert_array_equal(found.numpy(), np.rint(x))
