"""What labels are decided from is compared in their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.building.network import arrays_of, machine_of
from harness.compiler.api import tvm
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.quantization.decided import WithDecidingFloats

HERE = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def labels() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["a"], axis=1, keepdims=0),
        helper.make_node("Cast", ["a"], ["y"], to=onnx.TensorProto.INT32),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [3, 8])], ["y"], {"w": weights(8, 5)})
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    return model


def both() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Greater", ["y", "x"], ["above"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [3, 8])], ["y", "above", "label"], {"w": weights(8, 8)})
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    model.graph.output[2].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (labels, lambda x, y: [y]),
        (both, lambda x, y: [y, x, y, y]),
    ],
)
def test_floats_stand_in_the_place_of_what_they_decide(
    make: Callable[[], onnx.ModelProto],
    expected: Callable[[np.ndarray, np.ndarray], list[np.ndarray]],
    tmp_path: Path,
) -> None:
    model = make()
    matrix = onnx.numpy_helper.to_array(model.graph.initializer[0])
    compared = WithDecidingFloats.apply(canonicalise(imported(model, tmp_path).module))
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    found = arrays_of(machine_of(fuse(compared, "full"), HERE, 2), [x])
    assert [each.dtype.kind for each in found] == ["f"] * len(found)
    for one, other in zip(found, expected(x, x @ matrix), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
