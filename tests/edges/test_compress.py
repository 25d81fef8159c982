"""A compressed network computes what its masked weights say, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from calibrated_networks import calibrated, convolutions
from onnx import helper
from small_models import FLOAT, feeds, onnx_model, save, weights

from harness.building.network import compile_scheduled
from harness.compiler.api import relax, tvm
from harness.edges.compress import check_outputs, compress
from harness.errors import CellFailure
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.networks.layers import biases_of, layers_of, named_layers
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.schedules.untuned import schedule_untuned
from harness.specs.edges import Edges
from harness.specs.patterns import Pattern
from harness.specs.scores import Score

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = 8


def network() -> onnx.ModelProto:
    """A convolution of 3 × 3, a depthwise and a pointwise one, and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"], group=16, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["r", "c"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["t"]),
        helper.make_node("Flatten", ["t"], ["u"]),
        helper.make_node("Gemm", ["u", "d", "e"], ["y"]),
    ]
    constants = {
        "a": weights(16, 4, 3, 3),
        "b": weights(16, 1, 3, 3),
        "c": weights(32, 16, 1, 1),
        "d": weights(32, 5),
        "e": weights(5),
    }
    return onnx_model(nodes, [("x", FLOAT, [1, 4, 6, 6])], ["y"], constants)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("model")
    return import_model(save(network(), folder / "net.onnx"), {}, folder)


@pytest.fixture(scope="module")
def canonical(imported: Imported) -> tvm.IRModule:
    return canonicalise(imported.module, imported.layer_names)


def run(module: tvm.IRModule, imported: Imported) -> np.ndarray:
    scheduled = schedule_untuned(fuse(module, "none"), TARGET, 2)
    executable = compile_scheduled(scheduled, TARGET).executable
    values = feeds(imported.inputs)
    machine = relax.VirtualMachine(executable, tvm.cpu())
    found: np.ndarray = machine["main"](
        *(tvm.runtime.tensor(values[spec.name]) for spec in imported.inputs)
    ).numpy()
    return found


def test_layers_are_those_with_edges_to_prune(canonical: tvm.IRModule) -> None:
    layers = layers_of(canonical)
    assert [layer.name for layer in layers] == ["p", "s", "y"]
    assert [layer.matrix.shape for layer in layers] == [(36, 16), (16, 32), (32, 5)]
    assert [layer.positions for layer in layers] == [36, 36, 1]
    for layer in layers:
        np.testing.assert_array_equal(layer.stored(layer.matrix), layer.weights)


def test_column_has_the_edges_of_one_output(canonical: tvm.IRModule) -> None:
    """Taps are outside inputs, as packed weights have them."""
    layer = layers_of(canonical)[0]
    filters = weights(16, 4, 3, 3)
    np.testing.assert_allclose(
        layer.matrix[:, 3], np.transpose(filters[3], (1, 2, 0)).ravel(), rtol=1e-6
    )


def test_bias_is_one_number_for_each_output(tmp_path: Path) -> None:
    """What differs from place to place is none, though there are as many places as outputs."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("MatMul", ["q", "a"], ["r"]),
        helper.make_node("Add", ["c", "r"], ["y"]),
    ]
    constants = {"a": weights(6, 6), "b": weights(6, 1), "c": weights(6)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 6, 6])], ["y"], constants)
    module = canonicalise(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path).module)
    found = biases_of(module, layers_of(module))
    assert list(found) == ["matmul1"]
    np.testing.assert_array_equal(found["matmul1"].values.ravel(), constants["c"])


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [False, True])
def test_compressed_network_has_masked_weights(
    canonical: tvm.IRModule, imported: Imported, shuffle: bool
) -> None:
    edges = Edges(sparsity=0.5, shuffle=shuffle)
    compressed, summary = compress(canonical, edges, LANES, seed=0)
    kept = {layer.name: layer.parameters_kept / layer.parameters for layer in summary.layers}
    assert kept == {"p": 0.5, "s": 0.5, "y": 1.0}
    assert summary.parameters == 36 * 16 + 16 * 32 + 32 * 5
    assert 0 < summary.sparsity_measured < 0.5
    for before, after in zip(layers_of(canonical), layers_of(compressed), strict=True):
        gone = after.matrix == 0
        assert gone.mean() == pytest.approx(1 - kept[before.name])
        np.testing.assert_array_equal(after.matrix[~gone], before.matrix[~gone])
    assert np.abs(run(compressed, imported) - run(canonical, imported)).max() > 0


def test_excluded_layer_stays_as_it_is(canonical: tvm.IRModule) -> None:
    edges = Edges(sparsity=0.5, exclude=("p",))
    _, summary = compress(canonical, edges, LANES, seed=0)
    assert [layer.parameters_kept == layer.parameters for layer in summary.layers] == [
        True, False, True,
    ]  # fmt: skip


def test_layer_of_zeros_decides_nothing_for_the_others(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Conv", ["p", "b"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    constants = {"a": weights(16, 16, 1, 1), "b": np.zeros((16, 16, 1, 1), np.float32)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 16, 6, 6])], ["y"], constants)
    module = canonicalise(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path).module)
    _, summary = compress(module, Edges(sparsity=0.3, budget="edges"), LANES, seed=0)
    kept = {layer.name: layer.parameters_kept / layer.parameters for layer in summary.layers}
    assert kept == {"conv2d0": 1.0, "conv2d1": 1 / 16}


@pytest.mark.parametrize(
    ("pattern", "kept"), [("block", 1.0), ("wide-block", 1.0), ("unstructured", 0.5)]
)
def test_blocks_are_of_layers_that_have_sparse_kernels(
    tmp_path: Path, pattern: Pattern, kept: float
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1, 1]),
        helper.make_node("MatMul", ["p", "b"], ["y"]),
    ]
    constants = {"a": weights(16, 4, 3), "b": weights(6, 16)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 4, 6])], ["y"], constants)
    module = canonicalise(import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path).module)
    _, summary = compress(module, Edges(sparsity=0.5, pattern=pattern), LANES, seed=0)
    assert [each.parameters_kept / each.parameters for each in summary.layers] == [kept, 0.5]


def test_budget_of_edges_is_kept_and_spent_unevenly(canonical: tvm.IRModule) -> None:
    uniform, _ = compress(canonical, Edges(sparsity=0.5), LANES, seed=0)
    _, summary = compress(canonical, Edges(sparsity=0.5, budget="edges"), LANES, seed=0)
    sparse = [layer for layer in summary.layers if layer.name != "y"]
    kept = sum(layer.parameters_kept for layer in sparse)
    assert kept <= sum(np.count_nonzero(each.weights) for each in layers_of(uniform)[:2]) * 1.05
    shares = {layer.parameters_kept / layer.parameters for layer in sparse}
    assert len(shares) == 2


def test_layers_are_excluded_by_a_rule(canonical: tvm.IRModule) -> None:
    excluded = named_layers(("p*", "s"), canonical)
    assert excluded == ("p", "s")
    edges = Edges(sparsity=0.5, pattern="unstructured", exclude=excluded)
    _, summary = compress(canonical, edges, LANES, seed=0)
    assert [layer.parameters_kept == layer.parameters for layer in summary.layers] == [
        True, True, False,
    ]  # fmt: skip


def test_network_without_a_fitting_layer_fails(canonical: tvm.IRModule) -> None:
    with pytest.raises(CellFailure, match="no layer fits the pattern 'block'"):
        compress(canonical, Edges(sparsity=0.5), 64, seed=0)


@pytest.mark.parametrize("score", ["magnitude", "gradient"])
@pytest.mark.parametrize("pattern", ["block", "channel", "unstructured"])
def test_weights_of_another_type_are_told(tmp_path: Path, score: Score, pattern: Pattern) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    double = onnx.TensorProto.DOUBLE
    constants = {"w": weights(16, 16).astype(np.float64)}
    model = onnx_model(nodes, [("x", double, [1, 16])], [("y", double, [1, 16])], constants)
    found = import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path)
    canonical = canonicalise(found.module, found.layer_names)
    said = "no edges can be dropped: its weights are float64, expected float32"
    with pytest.raises(CellFailure, match=said):
        compress(canonical, Edges(sparsity=0.5, score=score, pattern=pattern), LANES, seed=0)


def test_network_without_weights_has_no_edges_to_drop(tmp_path: Path) -> None:
    model = onnx_model([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [1, 16])], ["y"])
    found = import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path)
    with pytest.raises(CellFailure, match="it has no convolution, and no product with a constant"):
        compress(canonicalise(found.module, found.layer_names), Edges(sparsity=0.5), LANES, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "said"),
    [(1e6, r"are \d+ times as large as before"), (np.nan, "outputs that are not finite")],
)
def test_outputs_that_exploded_fail_the_cell(factor: float, said: str, tmp_path: Path) -> None:
    calibration = calibrated(convolutions(), tmp_path)
    last = calibration.layers[-1]
    check_outputs(calibration, {last.variable: 2 * last.weights})
    with pytest.raises(CellFailure, match=said):
        check_outputs(calibration, {last.variable: np.float32(factor) * last.weights})
