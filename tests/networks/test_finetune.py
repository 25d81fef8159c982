"""Fine-tuning brings a pruned network closer to the dense one, and brings no edge back."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, INT64, onnx_model, weights

from harness.compiler.api import tvm
from harness.edges.compress import compress
from harness.errors import CellFailure
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer, biases_of, grouped_layers_of, layers_of
from harness.passes.canonicalise import canonicalise
from harness.records.record import Compression
from harness.specs.edges import Edges, Finetune
from harness.specs.scores import Score

LANES = 8
TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
with_torch = pytest.mark.usefixtures("torch")


def torch_module() -> Any:
    return pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")


@pytest.fixture
def torch() -> Any:
    return torch_module()


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> tvm.IRModule:
    """Two convolutions and a dense layer, with biases."""
    nodes = [
        helper.make_node("Conv", ["x", "a", "b"], ["p"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "c", "d"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["t"]),
        helper.make_node("Flatten", ["t"], ["u"]),
        helper.make_node("Gemm", ["u", "e", "f"], ["y"]),
    ]
    constants = {
        "a": weights(16, 4, 3, 3), "b": weights(16, seed=1), "c": weights(16, 16, 1, 1),
        "d": weights(16, seed=2), "e": weights(16, 5), "f": weights(5, seed=3),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 4, 6, 6])], ["y"], constants)
    return canonicalise(imported(model, tmp_path_factory.mktemp("model")).module)


def samples(count: int, seed: int) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [[generator.standard_normal((1, 4, 6, 6)).astype(np.float32)] for _ in range(count)]


def edges(epochs: int = 8, **keys: Any) -> Edges:
    stages = keys.pop("stages", 1)
    settings = Finetune(
        epochs=epochs,
        stages=stages,
        batch=16,
        learning_rate=keys.pop("learning_rate", 0.01),
        layers=keys.pop("layers", 0),
    )
    return Edges(sparsity=0.5, finetune=settings, **keys)  # type: ignore[arg-type]


def tuned(
    module: tvm.IRModule, wanted: Edges, heard: list[Any] | None = None
) -> tuple[tvm.IRModule, Compression]:
    tell = (lambda message: None) if heard is None else heard.append
    return compress(module, wanted, LANES, 0, not_asked, samples(96, 0), tell)


def not_asked(module: tvm.IRModule, layers: list[Layer]) -> Calibration:
    raise AssertionError("nothing looks inside the layers here")


def outputs(module: tvm.IRModule) -> np.ndarray:
    """What a network gives on inputs that it was not fitted to."""
    from harness.networks.torch_network import TorchNetwork

    fresh = np.stack([sample[0] for sample in samples(64, 1)])
    (found,) = TorchNetwork(module)([torch_module().from_numpy(fresh)])
    return np.asarray(found)


@with_torch
def test_network_is_closer_and_its_masks_stay(module: tvm.IRModule) -> None:
    heard: list[dict[str, Any]] = []
    pruned, _ = compress(module, Edges(sparsity=0.5), LANES, 0)  # type: ignore[arg-type]
    found, summary = tuned(module, edges(), heard)
    assert (summary.finetuned_epochs, summary.finetuned_samples) == (8, 96)
    for one, other in zip(layers_of(pruned), layers_of(found), strict=True):
        np.testing.assert_array_equal(one.matrix == 0, other.matrix == 0)
        assert np.abs(one.matrix - other.matrix).max() > 0
    for one, other in zip(
        (bias.values for bias in biases_of(pruned, layers_of(pruned)).values()),
        (bias.values for bias in biases_of(found, layers_of(found)).values()),
        strict=True,
    ):
        assert one.shape == other.shape and np.abs(one - other).max() > 0
    dense = outputs(module)
    errors = [np.square(outputs(each) - dense).sum() for each in (found, pruned)]
    assert errors[0] < 0.5 * errors[1]
    assert [message["stage"] for message in heard] == ["compress", *["fine-tune"] * 9]
    assert [message["done"] for message in heard[2:]] == list(range(1, 9))
    distances = [float(message["detail"].rsplit(" ", 1)[1]) for message in heard[2:]]
    assert distances[-1] < distances[0] / 2


@pytest.mark.slow
@with_torch
@pytest.mark.parametrize("score", ["magnitude", "second-order"])
def test_edges_go_in_stages_and_none_comes_back(module: tvm.IRModule, score: Score) -> None:
    """Each stage sees the network that the one before has left."""
    seen: list[list[np.ndarray]] = []
    heard: list[dict[str, Any]] = []

    def calibrate(network: tvm.IRModule, layers: list[Layer]) -> Calibration:
        seen.append([layer.matrix for layer in layers])
        return Calibration(network, layers, samples(32, 0), TARGET, 2)

    wanted = edges(epochs=8, stages=3, score=score, reconstruct=True)
    found, summary = compress(module, wanted, LANES, 0, calibrate, samples(96, 0), heard.append)
    seen.append([layer.matrix for layer in layers_of(found)])
    assert len(seen) == 4
    for before, after in pairwise(seen):
        for one, other in zip(before[:2], after[:2], strict=True):
            assert not other[one == 0].any()
            assert (other == 0).sum() > (one == 0).sum()
    assert [np.mean(matrix == 0) for matrix in seen[-1][:2]] == [0.5, 0.5]
    assert [layer.parameters_kept for layer in summary.layers[:2]] == [288, 128]
    told = [message for message in heard if "done" in message]
    assert [message["done"] for message in told] == list(range(1, 9))
    assert {message["total"] for message in told} == {8}
    dense = outputs(module)
    pruned, _ = compress(module, Edges(sparsity=0.5), LANES, 0)  # type: ignore[arg-type]
    errors = [np.square(outputs(each) - dense).sum() for each in (found, pruned)]
    assert errors[0] < 0.5 * errors[1]


@with_torch
def test_steps_that_are_too_long_do_not_take_the_network_further_away(module: tvm.IRModule) -> None:
    pruned, _ = compress(module, Edges(sparsity=0.5), LANES, 0)  # type: ignore[arg-type]
    found, _ = tuned(module, edges(epochs=2, learning_rate=1.0))
    dense = outputs(module)
    errors = [np.square(outputs(each) - dense).sum() for each in (found, pruned)]
    assert errors[0] <= 1.2 * errors[1]


@with_torch
def test_what_layers_give_can_count_too(module: tvm.IRModule) -> None:
    """It is closer then to what it was, though it says nothing of the outputs."""

    def inside(network: tvm.IRModule) -> np.ndarray:
        from harness.networks.torch_network import TorchNetwork

        fresh = torch_module().from_numpy(np.stack([sample[0] for sample in samples(64, 1)]))
        last = list(biases_of(network, layers_of(network)).values())[1].variable
        _, (found,) = TorchNetwork(network).watched([fresh], None, [last])
        return np.asarray(found)

    dense = inside(module)
    errors = [
        np.square(inside(tuned(module, edges(layers=weight))[0]) - dense).sum()
        for weight in (0, 10)
    ]
    assert errors[1] < 0.9 * errors[0]


@with_torch
def test_same_seed_gives_the_same_network(module: tvm.IRModule) -> None:
    one, other = (layers_of(tuned(module, edges(epochs=2))[0]) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)


@with_torch
def test_convolutions_in_groups_are_fitted_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b", "c"], ["r"], group=16, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("Conv", ["s", "d"], ["y"]),
    ]
    constants = {
        "a": weights(16, 4, 1, 1), "b": weights(16, 1, 3, 3), "c": weights(16, seed=1),
        "d": weights(8, 16, 1, 1),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 4, 6, 6])], ["y"], constants)
    dense = canonicalise(imported(model, tmp_path).module)
    found, _ = tuned(dense, edges(epochs=2))
    (before,), (after,) = (grouped_layers_of(each) for each in (dense, found))
    assert before.weights.shape == after.weights.shape
    changed = (before.weights != after.weights).reshape(16, -1).all(axis=1)
    # Channels that no edge leads from any more have no gradient, nor has one that is always 0.
    read = layers_of(found)[-1].matrix.any(axis=1)
    assert read.sum() == 8
    assert not changed[~read].any() and changed[read].mean() > 0.8
    biases = [
        biases_of(each, grouped_layers_of(each))[before.name].values for each in (dense, found)
    ]
    assert (biases[0] != biases[1]).any()


@with_torch
def test_what_comes_before_the_first_edge_that_went_stays(tmp_path: Path) -> None:
    """The first layer has outputs that are no whole vectors, so that it loses none."""
    nodes = [
        helper.make_node("Conv", ["x", "a", "b"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "c", "d"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("Conv", ["s", "e"], ["y"]),
    ]
    constants = {
        "a": weights(12, 4, 1, 1), "b": weights(12), "c": weights(16, 12, 1, 1),
        "d": weights(16, seed=1), "e": weights(5, 16, 1, 1),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 4, 6, 6])], ["y"], constants)
    dense = canonicalise(imported(model, tmp_path).module)
    found, _ = tuned(dense, edges(epochs=2))
    same = [
        (one.weights == other.weights).all()
        for one, other in zip(layers_of(dense), layers_of(found), strict=True)
    ]
    assert same == [True, False, False]
    biases = [biases_of(each, layers_of(each))["conv2d0"].values for each in (dense, found)]
    np.testing.assert_array_equal(*biases)


@with_torch
def test_indices_are_not_mixed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["w", "x"], ["g"], axis=0),
        helper.make_node("MatMul", ["g", "v"], ["y"]),
    ]
    constants = {"w": weights(10, 16), "v": weights(16, 8)}
    model = onnx_model(nodes, [("x", INT64, [1, 5])], ["y"], constants)
    dense = canonicalise(imported(model, tmp_path).module)
    tokens = np.random.default_rng(0).integers(0, 10, (32, 1, 5))
    heard: list[dict[str, Any]] = []
    compress(dense, edges(), LANES, 0, not_asked, [[each] for each in tokens], heard.append)
    distances = [float(message["detail"].rsplit(" ", 1)[1]) for message in heard[2:]]
    assert distances[-1] < distances[0]


@with_torch
def test_excluded_layer_and_its_bias_stay_as_they_are(module: tvm.IRModule) -> None:
    found, _ = tuned(module, edges(epochs=1, exclude=("conv2d0",)))
    first, second, _ = zip(layers_of(module), layers_of(found), strict=True)
    np.testing.assert_array_equal(first[0].weights, first[1].weights)
    assert (second[0].weights != second[1].weights).any()
    biases = [
        next(iter(biases_of(each, layers_of(each)).values())).values for each in (module, found)
    ]
    np.testing.assert_array_equal(*biases)


@with_torch
def test_loss_that_is_not_finite_fails(module: tvm.IRModule) -> None:
    with pytest.raises(CellFailure, match=r"distance to the dense network is .*learning_rate"):
        tuned(module, edges(learning_rate=1e30))


def test_without_torch_the_extra_is_named(
    module: tvm.IRModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CellFailure, match=r"pip install 'layeredge\[torch\]'"):
        tuned(module, edges())


@with_torch
def test_without_inputs_fine_tuning_fails(module: tvm.IRModule) -> None:
    with pytest.raises(CellFailure, match="'finetune' needs inputs to calibrate on"):
        compress(module, edges(), LANES, 0)
