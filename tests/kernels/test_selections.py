"""Masks of bits become selections for AVX-512, and no other bitwise operation does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.compiler.api import Schedule, features_of, te, tirx, tvm
from harness.kernels.lowering import use_our_lowering

ROWS, LANES, EVERY = 66, 8, 3
VECTORS = f"<{LANES} x i32>"
SHOWN = np.arange(1, ROWS * LANES + 1, dtype="float32").reshape(ROWS, LANES)


def kernel(mask: Any, processor: dict[str, str]) -> tvm.runtime.Executable:
    """Rows of a tensor moved down by one, their bits under a mask that a function of the row
    gives."""
    use_our_lowering()
    source = te.placeholder((ROWS, LANES), "float32", name="source")

    def masked(row: Any, lane: Any) -> Any:
        bits = tirx.reinterpret("int32", source[tirx.max(row - 1, 0), lane])
        return tirx.reinterpret("float32", tirx.bitwise_and(bits, mask(row)))

    result = te.compute((ROWS, LANES), masked, name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    schedule.vectorize(schedule.get_loops("result")[1])
    target = tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", **processor})
    return tvm.compile(schedule.mod, target=target)


def all_bits(row: Any) -> Any:
    return tirx.Select(row % EVERY > 0, tirx.const(-1, "int32"), tirx.const(0, "int32"))


def without_the_sign(row: Any) -> Any:
    return tirx.Select(row % EVERY > 0, tirx.const(0x7FFFFFFF, "int32"), tirx.const(0, "int32"))


@pytest.mark.parametrize(
    ("mask", "mcpu", "selects"),
    [
        (all_bits, "skylake-avx512", True),
        (all_bits, "haswell", False),
        (without_the_sign, "skylake-avx512", False),
    ],
)
def test_masks_are_selections_with_avx512_alone(mask: Any, mcpu: str, selects: bool) -> None:
    code = kernel(mask, {"mcpu": mcpu}).mod.inspect_source("ll")
    assert (f"and {VECTORS}" not in code) == selects


@pytest.mark.parametrize("mask", [all_bits, without_the_sign])
def test_what_is_computed_stays(mask: Any) -> None:
    host = tvm.target.Target("llvm")
    processor = {} if "avx512f" not in features_of(host) else {"mcpu": "skylake-avx512"}
    result = tvm.runtime.empty((ROWS, LANES), "float32")
    signs = np.where(np.arange(LANES) % 2, -1, 1).astype("float32")
    kernel(mask, processor)["main"](tvm.runtime.tensor(SHOWN * signs), result)
    kept = SHOWN if mask is without_the_sign else SHOWN * signs
    expected = np.where(np.arange(ROWS)[:, None] % EVERY, np.roll(kept, 1, axis=0), 0)
    np.testing.assert_array_equal(result.numpy(), expected)
