"""Accumulators of a tile are on the stack, larger intermediate results in memory of the runtime."""

from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.api import Schedule, te, tvm
from harness.kernels.lowering import use_our_lowering

INPUTS, TILES = 8, 4


def product(outputs: int, scope: str = "local") -> tvm.runtime.Executable:
    """Products with sums in a buffer of so many floats for each tile."""
    use_our_lowering()
    left = te.placeholder((TILES, INPUTS), "float32", name="left")
    right = te.placeholder((INPUTS, outputs), "float32", name="right")
    over = te.reduce_axis((0, INPUTS), name="over")
    result = te.compute(
        (TILES, outputs), lambda y, x: te.sum(left[y, over] * right[over, x], over), name="result"
    )
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([left, right, result])}))
    block = schedule.get_sblock("result")
    written = schedule.cache_write(block, 0, scope)
    tile, *_ = schedule.get_loops(written)
    schedule.compute_at(block, tile)
    return tvm.compile(schedule.mod, target=tvm.target.Target("llvm"))


@pytest.mark.parametrize(
    ("outputs", "scope", "asks"),
    [
        (256, "local", False),
        (384, "local", False),
        (1024, "local", False),
        (1025, "local", True),
        (384, "global", True),
    ],
)
def test_accumulators_of_up_to_4_kb_take_no_memory_of_the_runtime(
    outputs: int, scope: str, asks: bool
) -> None:
    compiled = product(outputs, scope)
    assert ("TVMBackendAllocWorkspace" in compiled.mod.inspect_source("ll")) == asks
    left = np.arange(TILES * INPUTS, dtype=np.float32).reshape(TILES, INPUTS)
    right = np.arange(INPUTS * outputs, dtype=np.float32).reshape(INPUTS, outputs) / 64
    found = tvm.runtime.tensor(np.zeros((TILES, outputs), np.float32))
    compiled.jit()["main"](tvm.runtime.tensor(left), tvm.runtime.tensor(right), found)
    np.testing.assert_allclose(found.numpy(), left @ right, rtol=1e-5)
