"""A branch goes when the outputs do not miss it, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from evaluation import evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from small_models import FLOAT, onnx_model, save, weights

from harness.compiler.api import tvm
from harness.edges.bypass import bypass, residual_branches
from harness.errors import CellFailure
from harness.models.frontends import import_model
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
CHANNELS = 8


def blocks(*scales: float) -> onnx.ModelProto:
    """x → x + c(relu(c(x))) for each scale of what is added, and a layer after and before; a sum of
    two layers beside each other is no branch around anything."""
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["p"]),
        helper.make_node("Conv", ["x", "beside"], ["o"]),
        helper.make_node("Add", ["p", "o"], ["b0"]),
    ]
    constants = {
        "first": weights(CHANNELS, 4, 1, 1),
        "beside": weights(CHANNELS, 4, 1, 1, seed=9),
        "last": weights(3, CHANNELS, 1, 1, seed=8),
    }
    for at, scale in enumerate(scales):
        constants[f"u{at}"] = weights(CHANNELS, CHANNELS, 3, 3, seed=at)
        constants[f"v{at}"] = np.float32(scale) * weights(CHANNELS, CHANNELS, 1, 1, seed=20 + at)
        nodes += [
            helper.make_node("Conv", [f"b{at}", f"u{at}"], [f"c{at}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{at}"], [f"r{at}"]),
            helper.make_node("Conv", [f"r{at}", f"v{at}"], [f"d{at}"]),
            # The branch is either side of the sum.
            helper.make_node("Add", [f"b{at}", f"d{at}"][:: 1 if at % 2 else -1], [f"b{at + 1}"]),
        ]
    nodes.append(helper.make_node("Conv", [f"b{len(scales)}", "last"], ["y"]))
    return onnx_model(nodes, [("x", FLOAT, [1, 4, 5, 5])], ["y"], constants)


def canonical(model: onnx.ModelProto, folder: Path) -> tvm.IRModule:
    return canonicalise(import_model(save(model, folder / "net.onnx"), {}, folder).module)


def samples(count: int, seed: int = 0) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [[generator.standard_normal((1, 4, 5, 5)).astype(np.float32)] for _ in range(count)]


def test_what_is_computed_from_what_it_is_added_to_is_a_branch(tmp_path: Path) -> None:
    assert len(residual_branches(canonical(blocks(1, 1, 1), tmp_path))) == 3
    assert residual_branches(canonical(blocks(), tmp_path)) == {}


@pytest.mark.slow
def test_a_branch_that_adds_next_to_nothing_goes(tmp_path: Path) -> None:
    module = canonical(blocks(1, 1e-4, 1), tmp_path)
    smaller, gone = bypass(module, 0.01, samples(4), TARGET, 2)
    assert gone == CHANNELS * CHANNELS * (9 + 1)
    assert len(layers_of(module)) - len(layers_of(smaller)) == 2
    expected = canonical(blocks(1, 0, 1), tmp_path)
    for sample in samples(3, seed=1):
        found, wanted = evaluate(smaller, sample)[0], evaluate(expected, sample)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_network_that_misses_every_branch_stays_as_it_is(tmp_path: Path) -> None:
    module = canonical(blocks(1, 1), tmp_path)
    smaller, gone = bypass(module, 1e-3, samples(4), TARGET, 2)
    assert gone == 0 and len(layers_of(smaller)) == len(layers_of(module))


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(
    scales=st.lists(st.sampled_from([1e-3, 0.03, 1.0]), min_size=1, max_size=3),
    tolerance=st.sampled_from([0.003, 0.05]),
)
def test_all_that_goes_together_stays_within_the_tolerance(
    scales: list[float], tolerance: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    module = canonical(blocks(*scales), tmp_path_factory.mktemp("model"))
    given_samples = samples(3)
    smaller, _ = bypass(module, tolerance, given_samples, TARGET, 2)
    moved = [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in (
            (evaluate(smaller, sample)[0], evaluate(module, sample)[0]) for sample in given_samples
        )
    ]
    assert np.mean(moved) <= tolerance * 1.001


def test_without_data_nobody_knows_what_is_missed(tmp_path: Path) -> None:
    with pytest.raises(CellFailure, match="'bypass' needs inputs to calibrate on"):
        bypass(canonical(blocks(1), tmp_path), 0.1, [], TARGET, 2)


@pytest.mark.slow
def test_a_branch_with_a_layer_to_exclude_stays(tmp_path: Path) -> None:
    read = import_model(save(blocks(1e-4, 1e-4), tmp_path / "net.onnx"), {}, tmp_path)
    module = canonicalise(read.module, read.layer_names)
    _, gone = bypass(module, 0.01, samples(4), TARGET, 2)
    smaller, kept = bypass(module, 0.01, samples(4), TARGET, 2, exclude=("d1",))
    assert kept == gone / 2
    names = {layer.name for layer in layers_of(smaller)}
    assert {"c1", "d1"} <= names and names.isdisjoint({"c0", "d0"})


def test_a_branch_of_64_bit_floats_is_measured_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["z"], to=TensorProto.DOUBLE),
        helper.make_node("Exp", ["z"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["q"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["z", "q"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    tiny = np.float32(1e-5) * weights(4, 4, 1, 1)
    model = onnx_model(nodes, [("x", FLOAT, [1, 4, 5, 5])], ["y"], {"w": tiny})
    module = canonical(model, tmp_path)
    assert len(residual_branches(module)) == 1
    _, gone = bypass(module, 0.01, samples(2), TARGET, 2)
    assert gone == 16
