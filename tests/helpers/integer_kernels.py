"""Runs single kernels of 8-bit integers, on numbers of the whole range."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import Schedule, te, tvm
from harness.kernels.lowering import use_our_lowering


def run(kernel: Any, *arrays: np.ndarray, inline: str = "", **options: Any) -> np.ndarray:
    """What a kernel of these options computes of some arrays; the block `inline` has no loops of
    its own."""
    inputs = [te.placeholder(each.shape, str(each.dtype)) for each in arrays]
    output = kernel(*inputs, **options)
    use_our_lowering()
    schedule = Schedule(te.create_prim_func([*inputs, output]))
    if inline:
        schedule.compute_inline(inline)
    module = schedule.mod
    shape = [int(extent) for extent in output.shape]
    found = tvm.runtime.tensor(np.zeros(shape, str(output.dtype)))
    library = tvm.compile(module, target=tvm.target.Target("llvm")).jit()
    library["main"](*(tvm.runtime.tensor(each) for each in arrays), found)
    return found.numpy()


def drawn(seed: int, dtype: str, *shape: int) -> np.ndarray:
    """Integers of all of a type's range, its ends among them."""
    limits, random = np.iinfo(dtype), np.random.default_rng(seed)
    found = random.integers(limits.min, limits.max + 1, shape).astype(dtype)
    ends = random.random(shape)
    found[ends < 0.1], found[ends > 0.9] = limits.min, limits.max
    return found
