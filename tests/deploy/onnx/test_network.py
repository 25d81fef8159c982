"""Networks written as ONNX give in ONNX Runtime what they give here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from calibrated_networks import convolutions, one_dimension, products
from onnx import helper
from small_models import FLOAT, convolutional, feeds, onnx_model, save, save_int8_tflite, weights

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import constant, relax, shape_of, tvm
from harness.deploy.onnx.network import onnx_network, write_onnx
from harness.errors import CellFailure
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.models.tensors import TensorSpec
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse

op = relax.op
HERE = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def written(imported: Imported) -> tuple[tvm.IRModule, onnx.ModelProto]:
    canonical = canonicalise(imported.module, imported.layer_names)
    model = onnx_network(canonical, imported.inputs, imported.outputs)
    onnx.checker.check_model(model, full_check=True)
    return canonical, model


def assert_same(imported: Imported, atol: float = 1e-5) -> onnx.ModelProto:
    canonical, model = written(imported)
    values = feeds(imported.inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [each.name for each in session.get_inputs()] == [each.name for each in imported.inputs]
    assert [each.name for each in session.get_outputs()] == [each.name for each in imported.outputs]
    found = np.concatenate([each.ravel() for each in session.run(None, values)])
    machine = machine_of(fuse(canonical, "none"), HERE, 1)
    np.testing.assert_allclose(found, outputs_of(machine, list(values.values())), atol=atol)
    return model


@pytest.mark.parametrize("network", [convolutional, convolutions, one_dimension, products])
def test_networks_of_floats(network: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    assert_same(import_model(save(network(), tmp_path / "net.onnx"), {}, tmp_path))


def test_movement_and_reductions(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Split", ["t", "sizes"], ["a", "b"], axis=3),
        helper.make_node("Slice", ["a", "from", "to", "axes", "steps"], ["s"]),
        helper.make_node("ReduceMean", ["b"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["s", "s"], ["c"], axis=3),
        helper.make_node(
            "MaxPool", ["x"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4
        ),
        helper.make_node("AveragePool", ["x"], ["q"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Resize", ["p", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("Softmax", ["m"], ["o"], axis=-1),
    ]
    constants = {
        "sizes": np.array([2, 3]), "from": np.array([1, 0]), "to": np.array([7, 100]),
        "axes": np.array([1, 2]), "steps": np.array([2, 1]),
        "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 5, 8, 9])], ["c", "q", "r", "o"], constants)
    assert_same(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path))


def test_bias_is_part_of_its_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Conv", ["x", "v"], ["d"]),
        helper.make_node("Add", ["d", "e"], ["f"]),
        helper.make_node("Add", ["d", "f"], ["y"]),
    ]
    constants = {
        "w": weights(4, 3, 3, 3), "v": weights(4, 3, 3, 3, seed=1),
        "b": weights(4), "e": weights(1, 4, 1, 1),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 8, 8])], ["c", "y"], constants)
    found = assert_same(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path))
    assert [len(node.input) for node in found.graph.node if node.op_type == "Conv"] == [3, 2]


def test_sum_that_is_wider_than_the_convolution_is_no_bias(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "e"], ["y"]),
    ]
    constants = {"w": weights(1, 3, 3, 3), "e": weights(1, 8, 1, 1)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 8, 8])], ["y"], constants)
    assert_same(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path))


def test_model_that_onnx_runtime_does_not_run_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = import_model(save(convolutional(), tmp_path / "net.onnx"), {}, tmp_path)
    canonical = canonicalise(imported.module, imported.layer_names)
    given = list(feeds(imported.inputs).values())
    path = tmp_path / "network.onnx"
    broken = onnx_network(canonical, imported.inputs, imported.outputs)
    broken.graph.node[0].input.append("nothing has this name")
    monkeypatch.setattr("harness.deploy.onnx.network.onnx_network", lambda *_: broken)
    with pytest.raises(CellFailure, match="ONNX Runtime does not run it"):
        write_onnx(canonical, imported.inputs, imported.outputs, path, given)
    assert not path.exists()
    monkeypatch.undo()
    write_onnx(canonical, imported.inputs, imported.outputs, path, given)
    onnx.checker.check_model(path)


def test_quantized_layers_are_in_8_bits(tmp_path: Path) -> None:
    imported = import_model(save_int8_tflite(tmp_path / "net.tflite"), {}, tmp_path)
    _, model = written(imported)
    values = feeds(imported.inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    machine = machine_of(fuse(canonicalise(imported.module, imported.layer_names), "none"), HERE, 1)
    found = np.concatenate([each.ravel() for each in session.run(None, values)]).astype(float)
    assert np.abs(found - outputs_of(machine, list(values.values()))).max() <= 1
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert any(each.data_type == onnx.TensorProto.INT8 for each in model.graph.initializer)


def test_operator_without_a_row_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Hardmax", ["x"], ["y"])]
    model = onnx_model(nodes, [("x", FLOAT, [2, 3])], ["y"])
    imported = import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path)
    with pytest.raises(CellFailure, match="no row in deploy/onnx"):
        written(imported)


CALLS: dict[str, Callable[[relax.Var], relax.Expr]] = {
    "pad": lambda x: op.nn.pad(x, [0, 0, 1, 2, 0, 3, 2, 0], "constant", 1.5),
    "pad by mirroring": lambda x: op.nn.pad(x, [0, 0, 0, 0, 1, 2, 2, 1], "reflect"),
    "pad with the edge": lambda x: op.nn.pad(x, [0, 0, 0, 0, 1, 2, 2, 1], "replicate"),
    "prelu": lambda x: op.nn.prelu(x, constant(weights(4)), 1),
    "prelu of the last axis": lambda x: op.nn.prelu(x, constant(weights(6)), 3),
    "groups": lambda x: op.nn.group_norm(
        x, constant(weights(4)), constant(weights(4)), 2, 1, [2, 3]
    ),
    "cumulative": lambda x: op.cumsum(x, 2),
    "cumulative before": lambda x: op.cumsum(x, -1, exclusive=True),
    "finite": lambda x: op.astype(op.isfinite(op.log(x)), "float32"),
    "not equal": lambda x: op.astype(op.not_equal(op.round(x), relax.const(0.0)), "float32"),
    "remainder": lambda x: op.floor_mod(x, relax.const(0.3)),
    "remainder of integers": lambda x: op.astype(
        op.floor_mod(
            op.astype(op.multiply(x, relax.const(9.0)), "int32"), relax.const(-4, "int32")
        ),
        "float32",
    ),
    "gathered": lambda x: op.gather_elements(x, constant(PLACES), 3),
    "scattered": lambda x: op.scatter_elements(
        x, constant(PLACES), constant(weights(1, 4, 5, 2)), 3
    ),
    "largest": lambda x: op.astype(op.argmax(x, 1, True), "float32"),
    "least": lambda x: op.astype(op.argmin(x, 2), "float32"),
    "tiled": lambda x: op.tile(x, [1, 2, 1, 3]),
}
PLACES = np.array([[[[0, 5]] * 5] * 4])


@pytest.mark.parametrize("call", CALLS)
def test_calls_are_written_as_what_they_are(call: str) -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 4, 5, 6), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(CALLS[call](x)))
        builder.emit_func_output(result)
    module = builder.get()
    shape = shape_of(module["main"].body.body)
    model = onnx_network(
        module, [TensorSpec("x", (1, 4, 5, 6), "float32")], [TensorSpec("y", shape, "float32")]
    )
    onnx.checker.check_model(model, full_check=True)
    value = weights(1, 4, 5, 6, seed=3)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": value})
    expected = outputs_of(machine_of(fuse(module, "none"), HERE, 1), [value])
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5, atol=1e-6)
