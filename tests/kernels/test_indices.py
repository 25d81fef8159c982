"""What a reshape leaves in a kernel's indices goes where the extents make it superfluous."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import assert_agrees, compiled, imported
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    Schedule,
    estimate_tir_flops,
    structural_walk,
    te,
    tirx,
    tvm,
)
from harness.kernels.indices import simplify_indices
from harness.passes.fusion import kernels


def heads(rows: int, count: int, size: int, axes: list[int]) -> onnx.ModelProto:
    """A dense layer whose result is cut into heads, as attention does."""
    width = count * size
    shape = np.array([1, rows, count, size], np.int64)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["r"]),
        helper.make_node("Transpose", ["r"], ["y"], perm=axes),
    ]
    constants = {"w": weights(8, width), "b": weights(width), "shape": shape}
    return onnx_model(nodes, [("x", FLOAT, [1, rows, 8])], ["y"], constants)


def divisions(function: PrimFunc) -> int:
    found: list[Any] = []
    structural_walk(function.body, [(tirx.FloorDiv, found.append), (tirx.FloorMod, found.append)])
    return len(found)


def test_tile_needs_only_what_it_reads(tmp_path: Path) -> None:
    network = imported(heads(6, 4, 8, [0, 2, 1, 3]), tmp_path)
    (kernel,) = kernels(compiled(network))
    assert divisions(kernel.function) == 0
    schedule = Schedule(kernel.function)
    blocks: list[str] = []
    structural_walk(kernel.function.body, (SBlock, lambda block: blocks.append(block.name_hint)))
    for name in blocks:
        if name in ("T_add", "T_reshape"):
            schedule.compute_inline(schedule.get_sblock(name))
    product = next(name for name in blocks if "matmul" in name)
    loops = schedule.get_loops(schedule.get_sblock("T_transpose"))
    schedule.compute_at(schedule.get_sblock(product), loops[2])
    unscheduled = estimate_tir_flops(tvm.IRModule({"main": kernel.function}))
    assert estimate_tir_flops(schedule.mod) <= 1.5 * unscheduled


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 7),
    count=st.integers(1, 5),
    size=st.integers(1, 9),
    axes=st.sampled_from([[0, 2, 1, 3], [0, 2, 3, 1]]),
)
def test_network_computes_the_same(rows: int, count: int, size: int, axes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = heads(rows, count, size, axes)
        network = imported(model, Path(folder))
        assert_agrees(model, network, compiled(network))


@pytest.mark.parametrize("extent", [1, 4])
def test_reduction_still_reads_what_it_writes(extent: int) -> None:
    """Where a loop runs once, 0 for its variable would hide the reduction from TVM."""
    source = te.placeholder((extent, 8), name="source")
    axis = te.reduce_axis((0, 8), name="axis")
    result = te.compute((extent,), lambda at: te.sum(source[at, axis], axis=axis), name="sum")
    module = simplify_indices(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    schedule = Schedule(module)
    schedule.decompose_reduction("sum", schedule.get_loops("sum")[0])
