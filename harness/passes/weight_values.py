"""Weights known by their values: which kernel of a network computes with those of a layer."""

from __future__ import annotations

import numpy as np

from harness.compiler.api import constant_array, operator_name, tvm
from harness.passes.rewriter import MAIN

Values = tuple[int, int]


def values_of(array: np.ndarray) -> Values:
    """Tells arrays of float32 apart by their values, whatever the order and however many zeros:
    packing weights, or storing blocks of them, changes nothing else."""
    positive_zeros = np.ascontiguousarray(array, np.float32) + np.float32(0)
    bits = positive_zeros.view(np.uint32).astype(np.uint64)
    return int(bits.sum()), int((bits * bits).sum())


def owners(fused: tvm.IRModule) -> dict[Values, str]:
    """Values of constants to the kernel of a fused network that is called with them."""
    return {
        values_of(array): str(binding.value.args[0].name_hint)
        for block in fused[MAIN].body.blocks
        for binding in block.bindings
        if operator_name(binding.value) == "relax.call_tir"
        for argument in binding.value.args[1].fields
        if (array := constant_array(argument)) is not None and array.dtype == np.float32
    }
