"""Networks whose channels go only together: in residuals, depthwise convolutions, gates and the
like; and running them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from evaluation import evaluate
from onnx import NodeProto, helper
from small_models import FLOAT, onnx_model, save, weights

from harness.compiler.api import shape_of, tvm
from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise

SIDE = 4


class Builder:
    """An ONNX network that grows step by step. `value` is the current image and `width` its
    channels."""

    def __init__(self, channels: int = 3) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.value, self.width, self.channels = "x", channels, channels

    def node(self, operator: str, inputs: Sequence[str], **attributes: object) -> str:
        """A node's one output."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, *shape: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = weights(*shape, seed=len(self.constants))
        return name

    def convolved(self, value: str, inputs: int, outputs: int, side: int = 1) -> str:
        """A convolution with a bias that keeps the image's size."""
        names = [value, self.constant(outputs, inputs, side, side), self.constant(outputs)]
        return self.node("Conv", names, pads=[side // 2] * 4)

    def module(self, folder: Path) -> tvm.IRModule:
        model = onnx_model(
            self.nodes, [("x", FLOAT, [1, self.channels, SIDE, SIDE])], [self.value], self.constants
        )
        return canonicalise(import_model(save(model, folder / "net.onnx"), {}, folder).module)


def wide(net: Builder) -> None:
    """A convolution to more channels."""
    net.value = net.node("Relu", [net.convolved(net.value, net.width, net.width + 5, 3)])
    net.width += 5


def residual(net: Builder) -> None:
    inside = net.node("Relu", [net.convolved(net.value, net.width, 6)])
    net.value = net.node("Add", [net.value, net.convolved(inside, 6, net.width, 3)])


def depthwise(net: Builder) -> None:
    """One filter a channel, then two."""
    for factor in (1, 2):
        filters = net.constant(factor * net.width, 1, 3, 3)
        bias = net.constant(factor * net.width)
        inputs = [net.value, filters, bias]
        net.value = net.node("Conv", inputs, group=net.width, pads=[1, 1, 1, 1])
        net.width *= factor


def gate(net: Builder) -> None:
    """Squeeze and excitation."""
    pooled = net.node("GlobalAveragePool", [net.value])
    hidden = net.node("Relu", [net.convolved(pooled, net.width, 3)])
    gates = net.node("Sigmoid", [net.convolved(hidden, 3, net.width)])
    net.value = net.node("Mul", [net.value, gates])


def concatenation(net: Builder) -> None:
    """Two branches one after the other, one of which is also added to."""
    parts = [net.convolved(net.value, net.width, outputs) for outputs in (5, 7)]
    parts[1] = net.node("Add", [parts[1], net.convolved(net.value, net.width, 7)])
    net.value = net.node("Relu", [net.node("Concat", parts, axis=1)])
    net.width = 12


def halves(net: Builder) -> None:
    """A gated linear unit: one half times the other."""
    both = net.convolved(net.value, net.width, 12)
    name = f"v{len(net.nodes)}"
    net.nodes.append(helper.make_node("Split", [both], [name, f"{name}b"], axis=1))
    net.value = net.node("Mul", [name, net.node("HardSigmoid", [f"{name}b"])])
    net.width = 6


def pooled(net: Builder) -> None:
    net.value = net.node("MaxPool", [net.value], kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def hard_swish(net: Builder) -> None:
    net.value = net.node("HardSwish", [net.value])


def flattened_end(net: Builder) -> None:
    """A dense layer that reads every place of the image."""
    net.value = net.node("Flatten", [net.value])
    matrix = net.constant(net.width * SIDE * SIDE, 5)
    net.value = net.node("Gemm", [net.value, matrix, net.constant(5)])


def pooled_end(net: Builder) -> None:
    net.value = net.node("Flatten", [net.node("GlobalAveragePool", [net.value])])
    net.value = net.node("Gemm", [net.value, net.constant(net.width, 5), net.constant(5)])


STEPS: list[Callable[[Builder], None]] = [
    wide, residual, depthwise, gate, concatenation, halves, pooled, hard_swish,
]  # fmt: skip
"""Steps that give 0 for a channel that is 0."""
ENDS = [flattened_end, pooled_end]


def inputs_of(module: tvm.IRModule) -> list[np.ndarray]:
    """Inputs that are always the same."""
    generator = np.random.default_rng(3)
    return [
        generator.standard_normal(shape_of(parameter)).astype(np.float32)
        for parameter in module["main"].params
    ]


def run(module: tvm.IRModule) -> np.ndarray:
    """The outputs, one after the other, for `inputs_of`."""
    outputs = evaluate(module, inputs_of(module))
    return np.concatenate([output.ravel() for output in outputs])
