"""Merging keeps what a network computes, and finds what was planted in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from channel_networks import (
    ENDS,
    SIDE,
    STEPS,
    Builder,
    concatenation,
    depthwise,
    flattened_end,
    pooled_end,
    residual,
    run,
    wide,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compiler.api import constant_array, relax, tvm
from harness.compiler.names import constant_like
from harness.edges.compress import compress
from harness.edges.merging import merge, merged
from harness.networks.channel_groups import channel_groups, follow
from harness.networks.flow import Flow
from harness.networks.layers import layers_of
from harness.passes.rewriter import Rewriter, with_arguments
from harness.specs.edges import Edges

Step = Callable[[Builder], None]


class Planted(Rewriter):
    """The same network with some channels changed in all constants of a role: `change` is given an
    array `[positions, ...]`, the channel of each position, and the role."""

    def __init__(
        self,
        module: tvm.IRModule,
        flow: Flow,
        change: Callable[[np.ndarray, np.ndarray, str], None],
    ) -> None:
        super().__init__(module)
        self.flow, self.change = flow, change

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        arguments = list(call.args)
        for use in self.flow.uses.get(original.var, ()):
            values = np.moveaxis(constant_array(arguments[use.argument]).copy(), use.axis, 0)
            self.change(values, use.channels, use.role)
            values = np.ascontiguousarray(np.moveaxis(values, 0, use.axis))
            arguments[use.argument] = constant_like(arguments[use.argument], values)
        return with_arguments(call, arguments)


def network(steps: Sequence[Step], factory: pytest.TempPathFactory) -> tvm.IRModule:
    net = Builder()
    for step in steps:
        step(net)
    return net.module(factory.mktemp("model"))


def without_edges(module: tvm.IRModule, channels: Sequence[int], role: str) -> tvm.IRModule:
    def change(values: np.ndarray, found: np.ndarray, of: str) -> None:
        if of == role:
            values[np.isin(found, channels)] = 0

    return Planted.apply(module, follow(module), change)


def with_copies(module: tvm.IRModule, copies: dict[int, int]) -> tvm.IRModule:
    def change(values: np.ndarray, found: np.ndarray, role: str) -> None:
        for channel, original in copies.items():
            if role != "consumes" and channel in found:
                values[found == channel] = values[found == original]

    return Planted.apply(module, follow(module), change)


def free_channels(module: tvm.IRModule) -> list[np.ndarray]:
    return [group.channels for group in channel_groups(follow(module)) if not group.frozen]


def edges_of(module: tvm.IRModule) -> int:
    return sum(layer.weights.size for layer in layers_of(module))


def widths(module: tvm.IRModule) -> list[int]:
    return [layer.matrix.shape[1] for layer in layers_of(module)]


def assert_same(found: tvm.IRModule, expected: tvm.IRModule) -> None:
    np.testing.assert_allclose(run(found), run(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=3),
    end=st.sampled_from(ENDS),
    seed=st.integers(0, 1000),
)
def test_merged_network_computes_the_same_with_fewer_edges(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], end: Step, seed: int
) -> None:
    module = network([wide, *steps, end], tmp_path_factory)
    generator = np.random.default_rng(seed)
    copies, dead, unread = {}, [], []
    for channels in free_channels(module):
        picked = generator.permutation(channels)[:4]
        if len(picked) == 4:
            copies[picked[0]] = picked[1]
            dead.append(picked[2])
            unread.append(picked[3])
    planted = without_edges(with_copies(module, copies), dead, "produces")
    planted = without_edges(planted, unread, "consumes")
    found = merged(planted, 1, in_vectors=False)
    assert_same(found, planted)
    assert edges_of(found) < edges_of(planted)


def test_channel_without_edges_becomes_a_bias(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its own bias reaches the dense layer through a filter of one place, and the average."""
    module = network([wide, pooled_end], tmp_path_factory)
    planted = without_edges(module, [1, 5], "produces")
    found = merged(planted, 1, in_vectors=False)
    assert widths(found) == [6, 5]
    assert_same(found, planted)
    assert len(layers_of(found)) == 2


def test_number_is_not_folded_where_there_is_padding(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Around the image it is 0, so that the channel is no single number. What relu leaves 0 is."""
    net = Builder()
    wide(net)
    net.constants["c1"] = np.array([1, 1, 1, 1, -1, -1, -1, -1], np.float32)
    wide(net)
    pooled_end(net)
    module = net.module(tmp_path_factory.mktemp("model"))
    planted = without_edges(module, [0, 4], "produces")
    found = merged(planted, 1, in_vectors=False)
    assert widths(found) == [7, 13, 5]
    assert_same(found, planted)


@pytest.mark.parametrize("step", [residual, depthwise, concatenation])
def test_equal_channels_become_one(step: Step, tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([wide, step, flattened_end], tmp_path_factory)
    group = free_channels(module)[0]
    planted = with_copies(module, {group[2]: group[0], group[3]: group[0]})
    found = merged(planted, 1, in_vectors=False)
    assert widths(found)[0] == 6
    assert_same(found, planted)


def test_network_with_nothing_to_merge_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([wide, residual, depthwise, pooled_end], tmp_path_factory)
    assert widths(merged(module, 1, in_vectors=False)) == widths(module)


def test_at_least_one_channel_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([wide, pooled_end], tmp_path_factory)
    planted = without_edges(module, list(range(8)), "consumes")
    found = merged(planted, 1, in_vectors=False)
    assert widths(found) == [1, 5]
    assert_same(found, planted)


def test_vectors_stay_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([wide, pooled_end], tmp_path_factory)
    planted = without_edges(module, [0, 1, 2, 3, 4], "consumes")
    assert widths(merged(planted, 4, in_vectors=False)) == [4, 5]
    assert widths(merged(planted, 2, in_vectors=True)) == [4, 5]
    assert widths(merged(planted, 8, in_vectors=True)) == [8, 5]
    assert_same(merged(planted, 2, in_vectors=True), planted)


def layers_in_a_row(*sizes: tuple[int, int, int], bias: bool, pads: int) -> Step:
    """Convolutions (outputs, side, stride) with nothing between them."""

    def step(net: Builder) -> None:
        for outputs, side, stride in sizes:
            names = [net.value, net.constant(outputs, net.width, side, side)]
            if bias:
                names.append(net.constant(outputs))
            padding = [pads if side > 1 else 0] * 4
            net.value = net.node("Conv", names, pads=padding, strides=[stride, stride])
            net.width = outputs

    return step


@pytest.mark.parametrize(
    ("sizes", "bias", "pads", "left"),
    [
        pytest.param([(8, 3, 1), (4, 1, 1)], True, 1, 1, id="wide, then pointwise"),
        pytest.param([(8, 3, 2), (4, 1, 1)], True, 1, 1, id="a stride first"),
        pytest.param([(8, 1, 1), (4, 3, 1)], True, 0, 1, id="pointwise, then wide"),
        pytest.param([(8, 1, 1), (4, 3, 2)], False, 1, 1, id="padding without bias"),
        pytest.param([(8, 1, 1), (4, 3, 1)], True, 1, 2, id="padding and bias"),
        pytest.param([(8, 1, 1), (4, 1, 2)], True, 0, 1, id="a stride last"),
        pytest.param([(8, 1, 2), (4, 3, 1)], False, 1, 2, id="a stride that the other lacks"),
        pytest.param([(8, 3, 1), (4, 3, 1)], True, 1, 2, id="both wide"),
        pytest.param([(1, 1, 1), (9, 1, 1)], True, 0, 2, id="a bottleneck computes less"),
        pytest.param([(8, 1, 1), (8, 1, 1), (8, 1, 1)], True, 0, 1, id="three"),
    ],
)
def test_layers_in_a_row_become_one_where_that_computes_less(
    sizes: list[tuple[int, int, int]],
    bias: bool,
    pads: int,
    left: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    module = network([layers_in_a_row(*sizes, bias=bias, pads=pads)], tmp_path_factory)
    found = merged(module, 1, in_vectors=False)
    assert len(layers_of(module)) == len(sizes) and len(layers_of(found)) == left
    assert_same(found, module)


def widened_by_bias(net: Builder) -> None:
    """One channel to which a number for each of five is added."""
    value = net.node("Conv", [net.value, net.constant(1, 3, 1, 1)])
    net.value = net.node("Add", [value, net.constant(1, 5, 1, 1)])
    net.value = net.node("Conv", [net.value, net.constant(2, 5, 1, 1)])


def test_bias_that_makes_channels_is_no_bias(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([widened_by_bias], tmp_path_factory)
    found = merged(module, 1, in_vectors=False)
    assert widths(found) == [1, 2]
    assert_same(found, module)


def dense_layers(net: Builder) -> None:
    net.value = net.node("Flatten", [net.value])
    for inputs, outputs in ((3 * SIDE * SIDE, 40), (40, 6)):
        net.value = net.node("MatMul", [net.value, net.constant(inputs, outputs)])
        net.value = net.node("Add", [net.value, net.constant(outputs)])


def test_dense_layers_in_a_row_become_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([dense_layers], tmp_path_factory)
    found = merged(module, 1, in_vectors=False)
    assert widths(found) == [6]
    assert_same(found, module)


def equal_branches(net: Builder) -> None:
    weights = net.constant(5, 3, 3, 3)
    net.constants["copy"] = net.constants[weights].copy()
    branches = [
        net.node("Sigmoid", [net.node("Conv", [net.value, name], pads=[1, 1, 1, 1])])
        for name in (weights, "copy")
    ]
    net.value = net.node("Add", branches)


def test_equal_branches_become_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([equal_branches], tmp_path_factory)
    assert len(layers_of(merged(module, 1, in_vectors=False))) == 1


def test_record_says_what_merging_left_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    module = network([wide, residual, wide, pooled_end], tmp_path_factory)
    edges = Edges(pattern="unstructured", sparsity=0.95, merge=True)
    pruned, before = compress(module, edges, 1, seed=0)
    smaller, after = merge(pruned, before, 1)
    assert_same(smaller, pruned)
    assert before.parameters_merged == 0 < after.parameters_merged
    assert after.parameters_kept == before.parameters_kept
    left = sum(int(np.count_nonzero(layer.weights)) for layer in layers_of(smaller))
    assert left == after.parameters_kept - after.parameters_merged
