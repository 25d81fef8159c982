"""A network without channels gives what it gives with those channels' edges zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from channel_networks import (
    ENDS,
    SIDE,
    STEPS,
    Builder,
    inputs_of,
    pooled_end,
    run,
    wide,
)
from compiling import run_fused
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, onnx_model, save, weights

from harness.compiler.api import constant_array, relax, tvm
from harness.compiler.names import constant_like
from harness.edges.blocks import EDGE
from harness.edges.channels import KeptChannels, kept_channels, kept_count
from harness.edges.scores.table import scores_of
from harness.edges.shrinking import KeepChannels
from harness.models.catalog.embedded_models import embedded_file
from harness.models.frontends import import_model
from harness.networks.channel_groups import channel_groups, follow
from harness.networks.flow import Flow
from harness.networks.layers import ReplaceConstants, layers_of
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.rewriter import Rewriter

LANES = 4


class Silenced(Rewriter):
    """The same network with 0 in all weights that lead to some channels and in their biases."""

    def __init__(self, module: tvm.IRModule, flow: Flow, keep: np.ndarray) -> None:
        super().__init__(module)
        self.flow, self.keep = flow, keep

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        arguments = list(call.args)
        for use in self.flow.uses.get(original.var, ()):
            if use.role != "consumes":
                values = np.moveaxis(constant_array(arguments[use.argument]).copy(), use.axis, 0)
                values[~self.keep[use.channels]] = 0
                values = np.ascontiguousarray(np.moveaxis(values, 0, use.axis))
                arguments[use.argument] = constant_like(arguments[use.argument], values)
        return relax.Call(call.op, arguments, call.attrs, call.ty_args)


def kept_of(module: tvm.IRModule, sparsity: float, lanes: int = LANES) -> KeptChannels:
    layers, flow = layers_of(module), follow(module)
    scores = scores_of(layers, "random", EDGE, 0)
    return KeptChannels(flow, kept_channels(flow, layers, scores, sparsity, lanes))


def masked(module: tvm.IRModule, kept: KeptChannels) -> tvm.IRModule:
    layers = layers_of(module)
    masks = kept.masks(layers)
    return ReplaceConstants.apply(
        module,
        {
            layer.variable: layer.stored(layer.matrix * masks[layer.name])
            for layer in layers
            if layer.name in masks
        },
    )


def assert_same(found: tvm.IRModule, expected: tvm.IRModule) -> None:
    np.testing.assert_allclose(run(found), run(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=4),
    end=st.sampled_from(ENDS),
    sparsity=st.floats(0.5, 0.9),
)
def test_network_without_channels_is_the_one_that_has_them_zero(
    tmp_path_factory: pytest.TempPathFactory,
    steps: Sequence[Callable[[Builder], None]],
    end: Callable[[Builder], None],
    sparsity: float,
) -> None:
    net = Builder()
    for step in (wide, *steps, end):
        step(net)
    module = net.module(tmp_path_factory.mktemp("model"))
    kept = kept_of(module, sparsity)
    assert not kept.keep.all()
    pruned = KeepChannels.apply(module, kept.flow, kept.keep)
    assert_same(pruned, Silenced.apply(module, kept.flow, kept.keep))
    sizes = [sum(layer.weights.size for layer in layers_of(each)) for each in (pruned, module)]
    assert sizes[0] < sizes[1]


def embedded(name: str, folder: Path) -> tvm.IRModule:
    return canonicalise(import_model(embedded_file(f"{name}.onnx"), {}, folder).module)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion-resnet8", "fashion-dscnn"])
def test_embedded_network_without_channels(name: str, tmp_path: Path) -> None:
    module = embedded(name, tmp_path)
    kept = kept_of(module, 0.5)
    pruned = KeepChannels.apply(module, kept.flow, kept.keep)
    assert_same(pruned, Silenced.apply(module, kept.flow, kept.keep))
    assert_same(pruned, masked(module, kept))
    (compiled,) = run_fused(fuse(pruned, "full"), inputs_of(pruned))
    np.testing.assert_allclose(compiled.ravel(), run(pruned), rtol=1e-3, atol=1e-3)


def attention() -> onnx.ModelProto:
    """Self-attention of 4 heads with 3 values each, and its output projection."""
    nodes, orders = [], {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    for name in "qkv":
        nodes += [
            helper.make_node("MatMul", ["x", f"w{name}"], [f"{name}0"]),
            helper.make_node("Reshape", [f"{name}0", "heads"], [f"{name}1"]),
            helper.make_node("Transpose", [f"{name}1"], [name], perm=orders[name]),
        ]
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["o0"]),
        helper.make_node("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["o1", "flat"], ["o2"]),
        helper.make_node("MatMul", ["o2", "wo"], ["y"]),
    ]
    constants = {f"w{name}": weights(8, 12, seed=at) for at, name in enumerate("qkv")}
    constants |= {
        "wo": weights(12, 8, seed=9),
        "heads": np.array([1, 5, 4, 3]),
        "flat": np.array([1, 5, 12]),
    }
    return onnx_model(nodes, [("x", FLOAT, [1, 5, 8])], ["y"], constants)


def test_heads_of_attention_are_channels(tmp_path: Path) -> None:
    module = canonicalise(
        import_model(save(attention(), tmp_path / "net.onnx"), {}, tmp_path).module
    )
    heads, outputs = channel_groups(follow(module))
    assert len(heads.channels) == 4 and len(heads.producers) == 3 and not heads.frozen
    assert outputs.frozen == "an output of the network"
    kept = kept_of(module, 0.5)
    pruned = KeepChannels.apply(module, kept.flow, kept.keep)
    assert [layer.weights.shape for layer in layers_of(pruned)] == [(8, 6)] * 3 + [(6, 8)]
    assert_same(pruned, masked(module, kept))


def frozen_by(*steps: Callable[[Builder], None], folder: Path) -> list[str]:
    net = Builder()
    for step in steps:
        step(net)
    return [group.frozen for group in channel_groups(follow(net.module(folder)))]


def joined_by_input(net: Builder) -> None:
    net.value = net.node("Add", [net.convolved(net.value, 3, 3), net.value])


def normalised(net: Builder) -> None:
    net.value = net.node("Softmax", [net.value], axis=1)


def shuffled(net: Builder) -> None:
    """Channels are taken apart in groups, which change places with what is inside of them."""
    net.constants["apart"] = np.array([1, 2, net.width // 2, SIDE, SIDE])
    net.constants["together"] = np.array([1, net.width, SIDE, SIDE])
    net.value = net.node("Reshape", [net.value, "apart"])
    net.value = net.node("Transpose", [net.value], perm=[0, 2, 1, 3, 4])
    net.value = net.node("Reshape", [net.value, "together"])


def in_groups(net: Builder) -> None:
    names = [net.value, net.constant(8, net.width // 2, 1, 1)]
    net.value = net.node("Conv", names, group=2)


def mean_over_channels(net: Builder) -> None:
    net.value = net.node("ReduceMean", [net.value], axes=[1], keepdims=1)


def unknown_operator(net: Builder) -> None:
    net.value = net.node("CumSum", [net.value, "one"])
    net.constants["one"] = np.array(1)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (normalised, "normalised over by nn.softmax"),
        (in_groups, "read by nn.conv2d in groups"),
        (mean_over_channels, "reduced over by mean"),
        (unknown_operator, "read by cumsum, which is not followed"),
    ],
)
def test_channels_that_cannot_be_led_on_are_frozen(
    step: Callable[[Builder], None], why: str, tmp_path: Path
) -> None:
    assert frozen_by(wide, step, folder=tmp_path) == [why]


def test_channels_of_inputs_and_outputs_are_frozen(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert frozen_by(wide, folder=tmp_path / "one") == ["an output of the network"]
    (tmp_path / "two").mkdir()
    first, _ = frozen_by(joined_by_input, wide, folder=tmp_path / "two")
    assert first == "joined by relax.add with a value without channels"


def test_shuffled_channels_go_together_in_what_is_shuffled(tmp_path: Path) -> None:
    net = Builder()
    for step in (wide, shuffled, wide, pooled_end):
        step(net)
    module = net.module(tmp_path)
    kept = kept_of(module, 0.5)
    assert [len(group.channels) for group in channel_groups(kept.flow)] == [2, 13, 5]
    pruned = KeepChannels.apply(module, kept.flow, kept.keep)
    assert_same(pruned, masked(module, kept))


def squeezed_end(net: Builder) -> None:
    net.value = net.node("Squeeze", [net.node("GlobalAveragePool", [net.value])])
    net.value = net.node("MatMul", [net.value, net.constant(net.width, 5)])


def test_axis_of_one_channel_is_not_squeezed(tmp_path: Path) -> None:
    net = Builder()
    for step in (wide, squeezed_end):
        step(net)
    module = net.module(tmp_path)
    kept = kept_of(module, 0.9, lanes=8)
    assert kept.keep.sum() == 1 + 5
    assert_same(KeepChannels.apply(module, kept.flow, kept.keep), masked(module, kept))


@given(
    width=st.integers(1, 200),
    lanes=st.sampled_from([1, 4, 8, 16]),
    sparsity=st.floats(0.01, 0.99),
)
def test_kept_channels_are_whole_vectors_of_wide_groups(
    width: int, lanes: int, sparsity: float
) -> None:
    kept = kept_count(width, sparsity, lanes)
    assert max(1, width * (1 - sparsity) - 1e-6) <= kept <= width
    if width >= 2 * lanes:
        assert kept % lanes == 0 or kept == width
        assert kept < width * (1 - sparsity) + lanes
    else:
        assert kept < width * (1 - sparsity) + 1
