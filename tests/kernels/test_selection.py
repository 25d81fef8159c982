"""The sorting kernel: the first elements of each row, of equal ones the one that comes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_nodes import assert_same, computed, network

from harness.compiler.api import tvm
from harness.kernels.selection import top_elements


def drawn(dtype: str, *shape: int) -> np.ndarray:
    """Numbers with equal ones among them."""
    values = np.random.default_rng(3).integers(-9, 10, shape)
    return values.astype(dtype)


@pytest.mark.parametrize("greatest", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int8", "uint8"])
@pytest.mark.parametrize(("length", "count"), [(1, 1), (7, 1), (30, 5), (30, 30)])
def test_rows_begin_with_their_first_elements(
    dtype: str, length: int, count: int, greatest: bool
) -> None:
    rows = drawn(dtype, 4, length)
    kernel = top_elements(4, length, count, dtype, "int64", greatest)
    built = tvm.compile(tvm.IRModule({"main": kernel}), target="llvm")
    values = tvm.runtime.tensor(np.zeros((4, count), dtype))
    places = tvm.runtime.tensor(np.full((4, count), -1, np.int64))
    built["main"](tvm.runtime.tensor(rows), values, places)
    keys = rows.astype(np.float64) * (-1 if greatest else 1)
    right = np.argsort(keys, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(places.numpy(), right)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(rows, right, axis=1))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_top_k_between_other_operators(tmp_path: Path, axis: int) -> None:
    """Also where it reads and is read by kernels that only move data."""
    x = drawn("float32", 6, 5, 7)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("TopK", ["t", "k"], ["v", "places"], axis=axis),
        helper.make_node("Transpose", ["v"], ["values"], perm=[2, 1, 0]),
    ]
    model = network(nodes, ["values", "places:int64"], {"x": x}, {"k": np.array([3])})
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert_same(computed(model, {"x": x}, tmp_path), expected)


def test_result_that_nobody_reads_costs_nothing_else(tmp_path: Path) -> None:
    x = drawn("float32", 1, 9)
    node = helper.make_node("TopK", ["x", "k"], ["unread", "places"], largest=0)
    model = network([node], ["places:int64"], {"x": x}, {"k": np.array([4])})
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert_same(computed(model, {"x": x}, tmp_path), expected)
