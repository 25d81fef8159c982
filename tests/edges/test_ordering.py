"""A network computes the same with its channels in another order, and its blocks keep more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from channel_networks import ENDS, STEPS, Builder, depthwise, inputs_of, pooled_end, run, wide
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from harness.compiler.api import tvm
from harness.edges import ordering
from harness.edges.blocks import Block, summed
from harness.edges.ordering import check_same, neighbours, reordered, side_by_side
from harness.edges.patterns import mask_of
from harness.errors import CellFailure
from harness.models.catalog.embedded_models import embedded_file
from harness.models.frontends import import_model
from harness.networks.layers import ReplaceConstants, layers_of
from harness.passes.canonicalise import canonicalise

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def kept(module: tvm.IRModule, vector: int) -> list[float]:
    """The share of its squared weights that each layer keeps, with half of its blocks."""
    found = []
    for layer in layers_of(module):
        squares = np.square(layer.matrix)
        if squares.shape[1] % vector == 0:
            block = Block(1, vector)
            mask = mask_of(summed(squares, block), "block", 0.5, block)
            found.append(float(squares[mask].sum() / squares.sum()))
    return found


def branches(net: Builder) -> None:
    """Two that follow each other, in whole vectors, and then their halves, in whole vectors too."""
    parts = [net.convolved(net.value, net.width, 12) for _ in range(2)]
    parts[1] = net.node("Relu", [parts[1]])
    both = net.node("Concat", parts, axis=1)
    name = f"v{len(net.nodes)}"
    net.nodes.append(helper.make_node("Split", [both], [name, f"{name}b"], axis=1))
    net.value, net.width = net.node("Mul", [name, f"{name}b"]), 12


def twice(net: Builder) -> None:
    """The same channels twice, of which a slice has the second half and then the first."""
    once = net.convolved(net.value, net.width, 24)
    both = net.node("Concat", [once, net.node("Relu", [once])], axis=1)
    for name, value in (("begin", 12), ("end", 36), ("axis", 1)):
        net.constants[name] = np.array([value], np.int64)
    net.value, net.width = net.node("Slice", [both, "begin", "end", "axis"]), 24


def built(folder: Path, *steps: Callable[[Builder], None]) -> tvm.IRModule:
    net = Builder()
    for step in steps:
        step(net)
    return net.module(folder)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.sampled_from([*STEPS, branches]), min_size=1, max_size=4),
    end=st.sampled_from(ENDS),
    vector=st.sampled_from([2, 3, 4]),
)
def test_network_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    steps: Sequence[Callable[[Builder], None]],
    end: Callable[[Builder], None],
    vector: int,
) -> None:
    module = built(tmp_path_factory.mktemp("model"), wide, *steps, end)
    ordered = side_by_side(module, vector)
    np.testing.assert_allclose(run(ordered), run(module), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["fashion-resnet8", "fashion-dscnn"])
def test_embedded_network_keeps_more_in_blocks(name: str, tmp_path: Path) -> None:
    module = canonicalise(import_model(embedded_file(f"{name}.onnx"), {}, tmp_path).module)
    ordered = side_by_side(module, 8)
    np.testing.assert_allclose(run(ordered), run(module), rtol=1e-3, atol=1e-3)
    before, after = kept(module, 8), kept(ordered, 8)
    assert np.mean(after) > np.mean(before) + 0.02
    assert sum(one > other for one, other in zip(after, before, strict=True)) > len(after) / 2


def test_outputs_of_a_kind_come_together() -> None:
    """Every third output reads other inputs, of both layers; how large it is does not matter."""
    generator = np.random.default_rng(0)
    kinds = np.arange(12) % 3
    layers = [
        (np.arange(rows)[:, None] % 3 == kinds) * generator.uniform(0.1, 5, (rows, 12))
        for rows in (9, 6)
    ]
    order = neighbours(layers, 4, 2 / 3)
    assert sorted(order) == list(range(12))
    assert [len(set(kinds[order[at : at + 4]])) for at in (0, 4, 8)] == [1, 1, 1]


@pytest.mark.parametrize(("step", "moved"), [(branches, True), (depthwise, True), (twice, False)])
def test_what_is_moved(step: Callable[[Builder], None], moved: bool, tmp_path: Path) -> None:
    """Not what is cut into parts that would be another's."""
    module = built(tmp_path, wide, step, pooled_end)
    ordered = side_by_side(module, 4)
    first, last = (
        [
            (one.weights != other.weights).any()
            for one, other in zip(layers_of(module), layers_of(ordered), strict=True)
        ][at]
        for at in (0, -1)
    )
    assert first, "the 8 outputs of the first layer"
    assert last == moved
    np.testing.assert_allclose(run(ordered), run(module), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_another_network_is_told(tmp_path: Path) -> None:
    module = built(tmp_path, wide, pooled_end)
    sample = inputs_of(module)
    reordered(module, 4, [sample], TARGET, 2)
    first, *_ = layers_of(module)
    other = ReplaceConstants.apply(module, {first.variable: first.weights[::-1].copy()})
    with pytest.raises(CellFailure, match="in another order the network gives outputs"):
        check_same(module, other, sample, TARGET, 2)


@pytest.mark.parametrize("outputs", [16, 24, 100])
def test_large_layers_are_ordered_by_a_part_of_them(
    outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs that read the first or the second half of the inputs, by turns."""
    monkeypatch.setattr(ordering, "_CANDIDATES", 10)
    monkeypatch.setattr(ordering, "_MOST_INPUTS", 64)
    weights = np.random.default_rng(0).uniform(0.5, 1, (1000, outputs)).astype(np.float32)
    weights[:500, ::2] = weights[500:, 1::2] = 0
    order = neighbours([weights], 4, 0.5)
    assert sorted(order) == list(range(outputs))
    vectors = [vector % 2 for vector in order.reshape(-1, 4)]
    alike = [len(set(vector)) == 1 for vector in vectors]
    assert sum(alike) >= len(alike) - 1
