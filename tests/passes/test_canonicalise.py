from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import assert_agrees, compiled, imported, kernel_names, run_fused
from onnx import ModelProto, helper
from small_models import FLOAT, INT64, onnx_model, weights
from tvm_runs import operators_of

from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.networks.layers import grouped_layers_of, layers_of
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels, kernels_by_layer
from harness.specs.sweep import FusionLevel
from harness.specs.target import Passes

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
_CONV = {"w": weights(8, 3, 3, 3), "b": weights(8, seed=1)}
_STATISTICS = {
    "scale": np.linspace(0.5, 2.0, 8, dtype=np.float32),
    "bias": np.linspace(-1.0, 1.0, 8, dtype=np.float32),
    "mean": np.linspace(-0.3, 0.2, 8, dtype=np.float32),
    "variance": np.linspace(0.2, 3.0, 8, dtype=np.float32),
}


def _after_convolution(
    nodes: list[object], more: dict[str, np.ndarray], opset: int = 17
) -> ModelProto:
    return onnx_model(
        [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), *nodes],
        [("x", FLOAT, [1, 3, 6, 6])],
        ["y"],
        {**_CONV, **more},
        opset=opset,
    )


def _activation(name: str) -> ModelProto:
    half, one, root = np.float32(0.5), np.float32(1), np.float32(np.sqrt(2))
    if name == "clip":
        bounds = {"low": np.array(0, np.float32), "high": np.array(0.6, np.float32)}
        return _after_convolution([helper.make_node("Clip", ["c", "low", "high"], ["y"])], bounds)
    if name == "hardswish":
        return _after_convolution([helper.make_node("HardSwish", ["c"], ["y"])], {})
    if name == "silu":
        nodes = [
            helper.make_node("Sigmoid", ["c"], ["s"]),
            helper.make_node("Mul", ["c", "s"], ["y"]),
        ]
        return _after_convolution(nodes, {})
    if name == "gelu":
        return _after_convolution([helper.make_node("Gelu", ["c"], ["y"])], {}, opset=20)
    nodes = [
        helper.make_node("Div", ["c", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["c", "a"], ["m"]),
        helper.make_node("Mul", ["m", "half"], ["y"]),
    ]
    return _after_convolution(nodes, {"root": root, "one": one, "half": half})


@pytest.mark.parametrize("name", ["clip", "hardswish", "silu", "gelu", "erf"])
def test_activation_shares_the_convolutions_kernel_when_fused(name: str, tmp_path: Path) -> None:
    model = _activation(name)
    network = imported(model, tmp_path)
    fused = compiled(network, channels_last=False)
    assert len(kernel_names(fused)) == 1, kernel_names(fused)
    assert_agrees(model, network, fused)


def test_clip_becomes_operators_when_imported_as_kernels(tmp_path: Path) -> None:
    canonical = canonicalise(imported(_activation("clip"), tmp_path).module)
    found = operators_of(canonical)
    assert "relax.call_tir" not in found
    assert {"relax.maximum", "relax.minimum"} <= set(found)


def test_batch_normalisation_vanishes_when_it_follows_a_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["c", *_STATISTICS], ["n"]),
        helper.make_node("Clip", ["n", "low", "high"], ["y"]),
    ]
    bounds = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    model = _after_convolution(nodes, {**_STATISTICS, **bounds})
    network = imported(model, tmp_path)
    found = operators_of(canonicalise(network.module))
    assert sorted(found) == sorted(
        ["relax.nn.conv2d", "relax.add", "relax.maximum", "relax.minimum"]
    )
    fused = compiled(network)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


def test_constants_stay_when_the_convolution_has_another_reader(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["c", "factor"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["y"]),
    ]
    model = _after_convolution(nodes, {"factor": weights(8, 1, 1, seed=4)})
    network = imported(model, tmp_path)
    assert "relax.multiply" in operators_of(canonicalise(network.module))
    assert_agrees(model, network, compiled(network))


def test_layer_normalisation_keeps_its_numbers_when_canonical(tmp_path: Path) -> None:
    model = onnx_model(
        [helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["y"], axis=-1)],
        [("x", FLOAT, [1, 5, 8])],
        ["y"],
        {"gain": weights(8), "shift": weights(8, seed=1)},
    )
    network = imported(model, tmp_path)
    assert_agrees(model, network, compiled(network))


@pytest.mark.parametrize(
    ("name", "operator"),
    [("Max", "maximum"), ("Min", "minimum"), ("Sum", "add"), ("Mean", "add")],
)
def test_operator_of_many_inputs_becomes_binary_when_imported_as_stack(
    name: str, operator: str, tmp_path: Path
) -> None:
    model = onnx_model(
        [helper.make_node(name, ["a", "b", "c"], ["y"])],
        [("a", FLOAT, [2, 3, 4]), ("b", FLOAT, [3, 4]), ("c", FLOAT, [2, 1, 4])],
        ["y"],
    )
    network = imported(model, tmp_path)
    found = operators_of(canonicalise(network.module))
    assert "relax.stack" not in found
    assert found.count(f"relax.{operator}") == 2
    fused = compiled(network)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


@pytest.mark.parametrize(
    ("index", "expected"),
    [(1, {"strided_slice"}), ([1, 2, 3], {"strided_slice"}), ([2, 0], {"take"})],
)
def test_gather_becomes_a_slice_when_indices_are_contiguous(
    index: int | list[int], expected: set[str], tmp_path: Path
) -> None:
    model = onnx_model(
        [helper.make_node("Gather", ["x", "i"], ["y"], axis=1)],
        [("x", FLOAT, [2, 5, 3])],
        ["y"],
        {"i": np.array(index, np.int64)},
    )
    network = imported(model, tmp_path)
    found = set(operators_of(canonicalise(network.module))) - {"relax.reshape"}
    assert found == {f"relax.{name}" for name in expected}
    assert_agrees(model, network, compiled(network))


@pytest.mark.parametrize("indices", [-1, [-1, -5, 2], "given"])
def test_elements_are_taken_from_the_end_when_indices_are_negative(
    indices: int | list[int] | str,
) -> None:
    data = np.arange(15, dtype=np.float32).reshape(5, 3)
    places = np.array([-2, 4, 0] if indices == "given" else indices)
    x = relax.Var("x", relax.TensorType((5, 3), "float32"))
    at = relax.Var("at", relax.TensorType(places.shape, "int64"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, at]):
        with builder.dataflow():
            index = at if indices == "given" else relax.const(places)
            taken = builder.emit_output(builder.emit(relax.op.take(x, index, axis=0)))
        builder.emit_func_output(taken)
    (found,) = run_fused(fuse(canonicalise(builder.get()), "full"), [data, places])
    np.testing.assert_array_equal(found, data[places])


def test_element_beyond_the_end_is_refused() -> None:
    x = relax.Var("x", relax.TensorType((5, 3), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            beyond = relax.op.take(x, relax.const(np.array([0, 5])), axis=0)
            taken = builder.emit_output(builder.emit(beyond))
        builder.emit_func_output(taken)
    with pytest.raises(CellFailure, match="element 5 is taken of an axis of 5 elements"):
        canonicalise(builder.get())


def test_slice_of_everything_vanishes_but_a_reversed_one_stays(tmp_path: Path) -> None:
    def sliced(start: int, end: int, step: int) -> ModelProto:
        return onnx_model(
            [helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
            [("x", FLOAT, [2, 5])],
            ["y"],
            {
                name: np.array([value])
                for name, value in zip("seat", (start, end, 1, step), strict=True)
            },
        )

    whole = imported(sliced(0, 2**31 - 1, 1), tmp_path)
    assert operators_of(canonicalise(whole.module)) == []
    reverse = sliced(-1, -(2**31), -1)
    network = imported(reverse, tmp_path)
    assert_agrees(reverse, network, compiled(network))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_behind_a_transpose_is_folded_into_the_dense_layer(
    dtype: type, tmp_path: Path
) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = onnx_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Reshape", ["m", "heads"], ["r"]),
            helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]),
            helper.make_node("Mul", ["t", "scale"], ["y"]),
        ],
        [("x", element, [1, 6, 8])],
        [("y", element, [1, 2, 6, 4])],
        {
            "w": weights(8, 8).astype(dtype),
            "heads": np.array([1, 6, 2, 4]),
            "scale": np.array(0.5, dtype),
        },
    )
    network = imported(model, tmp_path)
    assert "relax.multiply" not in operators_of(canonicalise(network.module))
    fused = compiled(network)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


def test_integer_constants_keep_their_type_when_evaluated(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Add", ["i", "j"], ["k"]),
            helper.make_node("Add", ["x", "k"], ["y"]),
        ],
        [("x", INT64, [3])],
        [("y", INT64, [3])],
        {"i": np.array([2**40, 1, 2]), "j": np.array([1])},
    )
    network = imported(model, tmp_path)
    fused = compiled(network)
    assert_agrees(model, network, fused, tolerance=0)


def test_control_flow_is_refused_when_it_depends_on_an_input() -> None:
    builder = relax.BlockBuilder()
    condition = relax.Var("condition", relax.TensorType((), "bool"))
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    with builder.function("main", [condition, x]):
        branch = relax.If(condition, relax.op.negative(x), relax.op.exp(x))
        builder.emit_func_output(builder.emit(branch))
    module: tvm.IRModule = builder.get()
    with pytest.raises(CellFailure, match="control flow"):
        canonicalise(module)


def layer_nodes(*names: str) -> ModelProto:
    """Convolutions one after the other, of nodes with such names, the last a depthwise one."""
    nodes = [
        helper.make_node("Conv", [f"v{at}", "w"], [f"v{at + 1}"], name=name, pads=[1, 1, 1, 1])
        for at, name in enumerate(names)
    ]
    nodes.append(
        helper.make_node("Conv", [nodes[-1].output[0], "d", "b"], ["y"], name="last", group=8)
    )
    constants = {"w": weights(8, 8, 3, 3), "d": weights(8, 1, 3, 3), "b": weights(8, seed=1)}
    return onnx_model(nodes, [("v0", FLOAT, [1, 8, 6, 6])], ["y"], constants)


def test_layers_are_named_by_nodes_and_told_apart_where_those_have_one_name(
    tmp_path: Path,
) -> None:
    read = imported(layer_nodes("/stem/Conv", "other", ""), tmp_path)
    canonical = canonicalise(read.module, read.layer_names)
    names = ["/stem/Conv", "other", "v3"]
    assert [layer.name for layer in layers_of(canonical)] == names
    assert [layer.name for layer in grouped_layers_of(canonical)] == ["last"]
    assert [layer.name for layer in layers_of(canonicalise(canonical))] == names
    alike = canonicalise(read.module, dict.fromkeys(read.layer_names, "same"))
    assert [layer.name for layer in layers_of(alike)] == ["same", "same (2)", "same (3)"]


def test_layers_without_a_node_are_named_by_their_operator_and_number(tmp_path: Path) -> None:
    canonical = canonicalise(imported(layer_nodes("a", "b"), tmp_path).module)
    assert [layer.name for layer in layers_of(canonical)] == ["conv2d0", "conv2d1"]
    assert [layer.name for layer in grouped_layers_of(canonical)] == ["conv2d2"]


@pytest.mark.parametrize("level", ["none", "elementwise", "full"])
def test_kernels_know_the_layers_whose_weights_they_read(
    level: FusionLevel, tmp_path: Path
) -> None:
    """Tied weights are two layers; packed, in another layout and fused they keep their names."""
    read = imported(layer_nodes("first", "second"), tmp_path)
    canonical = canonicalise(read.module, read.layer_names)
    fused = fuse(adapt(canonical, Passes(), TARGET), level, TARGET)
    layers = [kernel.layers for kernel in kernels(fused) if kernel.layers]
    assert sorted(name for names in layers for name in names) == ["first", "last", "second"]
    owner = kernels_by_layer(fused)
    assert owner.keys() == {"first", "second", "last"} and owner["last"] != owner["second"]
