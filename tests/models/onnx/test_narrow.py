"""Integers of less than a byte within a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import reference
from onnx import TensorProto, helper, numpy_helper
from onnx_nodes import computed, drawn
from small_models import save

from harness.errors import InputError
from harness.models.frontends import import_model

BOUNDS = {"INT4": (-8, 8), "UINT4": (0, 16), "INT2": (-2, 2), "UINT2": (0, 4)}
random = np.random.default_rng(5)


def narrow(kind: str, *shape: int) -> tuple[np.ndarray, onnx.TensorProto]:
    values = random.integers(*BOUNDS[kind], shape)
    tensor = helper.make_tensor("", getattr(TensorProto, kind), shape, values.flatten().tolist())
    return values, tensor


def network(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], shape: tuple[int, ...], opset: int = 25
) -> onnx.ModelProto:
    tensors = []
    for name, value in weights.items():
        tensor = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value)
        tensor.name = name
        tensors.append(tensor)
    graph = helper.make_graph(
        nodes,
        "narrow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", opset)]
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets))


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("block", [0, 8, 5])
def test_weights_are_read(tmp_path: Path, kind: str, block: int) -> None:
    (weights, tensor), rows = narrow(kind, 24, 10), -(-24 // block) if block else 1
    scales = np.asarray(random.uniform(0.01, 0.1, (rows, 10)), np.float32)
    zeros, zero_tensor = narrow(kind, *(scales.shape if block else (10,)))
    attributes = {"axis": 0, "block_size": block} if block else {"axis": 1}
    given = {"w": tensor, "s": scales if block else scales[0], "z": zero_tensor}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], **attributes),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    feeds = {"x": drawn(3, 24)}
    each = (scales, np.broadcast_to(zeros, scales.shape))
    if block:
        each = tuple(np.repeat(value, block, 0)[:24] for value in each)
    right = feeds["x"].astype(np.float64) @ ((weights - each[1]) * each[0])
    (found,) = computed(network(nodes, given, (3, 24)), feeds, tmp_path)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
@pytest.mark.parametrize("typed", [False, True])
def test_numbers_are_quantized_as_the_reference_does(
    tmp_path: Path, kind: str, typed: bool
) -> None:
    _, zero = narrow(kind)
    attributes = {"output_dtype": getattr(TensorProto, kind)} if typed else {}
    zeros = [] if typed else ["z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", *zeros], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", *zeros], ["y"]),
    ]
    weights = {"s": np.asarray(0.25, np.float32), **({} if typed else {"z": zero})}
    model, feeds = network(nodes, weights, (4, 50), 21), {"x": 2 * drawn(4, 50)}
    np.testing.assert_array_equal(computed(model, feeds, tmp_path)[0], reference(model, feeds)[0])


def test_result_of_them_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    weights = {"s": np.asarray(0.25, np.float32), "z": narrow("INT4")[1]}
    model = network([node], weights, (4,), 21)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT4, [4]))
    path = save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="output 'y' is int4, expected a type that NumPy has"):
        import_model(path, {}, tmp_path)
