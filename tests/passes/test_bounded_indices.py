"""Indices that are out of range read and write nothing outside, and others do what they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import compiled, imported, reference, run_fused
from onnx import helper
from small_models import FLOAT, INT64, onnx_model

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
UPDATES = np.array([[7.0], [9.0]], np.float32)
FAR = 2**40


def network(kind: str) -> onnx.ModelProto:
    """`x` (3×4) gathered from, or scattered into, where the integers `i` say."""
    indices = {"Gather": [2], "GatherElements": [2, 1], "GatherND": [2, 2]}
    shape = indices.get(kind, [2, 1] if kind == "ScatterElements" else [1, 2])
    inputs = [("x", FLOAT, [3, 4]), ("i", INT64, shape)]
    constants = {}
    if kind.startswith("Scatter"):
        names = ["x", "i", "u"]
        constants["u"] = UPDATES if kind == "ScatterElements" else UPDATES[0]
    else:
        names = ["x", "i"]
    attributes = {} if kind.endswith("ND") else {"axis": 1}
    nodes = [helper.make_node(kind, names, ["y"], **attributes)]
    return onnx_model(nodes, inputs, ["y"], constants)


def outputs(model: onnx.ModelProto, indices: np.ndarray, folder: Path) -> np.ndarray:
    (found,) = run_fused(compiled(imported(model, folder)), [VALUES, indices])
    return found


CASES = [
    ("Gather", [0, 3], [-1, 1], [FAR, -FAR], [3, 0]),
    ("GatherElements", [[0], [3]], [[-4], [-1]], [[FAR], [-FAR]], [[3], [0]]),
    ("GatherND", [[0, 3], [2, 1]], [[-1, -1], [0, -4]], [[FAR, 9], [-FAR, -9]], [[2, 3], [0, 0]]),
    ("ScatterElements", [[0], [3]], [[-4], [-1]], [[FAR], [-FAR]], [[3], [0]]),
    ("ScatterND", [[1, 2]], [[-1, -2]], [[FAR, -FAR]], [[2, 0]]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "inside", "counted", "outside", "nearest"), CASES)
def test_index_out_of_range_means_the_nearest_element(
    kind: str, inside: Any, counted: Any, outside: Any, nearest: Any, tmp_path: Path
) -> None:
    model = network(kind)
    for indices in (inside, counted):  # what ONNX Runtime says, from the begin and from the end
        given = np.array(indices, np.int64)
        (expected,) = reference(model, {"x": VALUES, "i": given})
        np.testing.assert_array_equal(outputs(model, given, tmp_path), expected)
    near = outputs(model, np.array(nearest, np.int64), tmp_path)
    np.testing.assert_array_equal(outputs(model, np.array(outside, np.int64), tmp_path), near)
