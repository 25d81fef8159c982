"""What is known of the graph around a node that is written in another form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness.models.onnx.evaluation import evaluated
from harness.models.onnx.file import opset_of
from harness.models.onnx.inference import static_shape, value_types

_SMALL = 1024
"""Elements of a constant that counts or decides."""


class Surroundings:
    """The graph around a node. `added` has the weights that its new form needs, `perhaps_useless`
    the nodes of branches that are not taken for some inputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.opsets = list(model.opset_import)
        self.opset = opset_of(model)
        self.types = dict(value_types(model))
        self.added: list[onnx.TensorProto] = []
        self.perhaps_useless: list[onnx.NodeProto] = []
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._arrays: dict[str, np.ndarray] = {}
        self._learn(model.graph.node)

    def array(self, name: str) -> np.ndarray | None:
        """The value of a constant; None of any other value."""
        if name not in self._arrays and name in self._tensors:
            self._arrays[name] = numpy_helper.to_array(self._tensors[name])
        return self._arrays.get(name)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, where all of it is known."""
        return static_shape(self.types.get(name))

    def take(self, tensors: Iterable[onnx.TensorProto], nodes: Iterable[onnx.NodeProto]) -> None:
        """Weights and Constant nodes of a body come into the graph. The nodes have to be written
        there."""
        for tensor in tensors:
            self._tensors[tensor.name] = tensor
            self.added.append(tensor)
        self._learn(nodes)

    def constant(self, name: str, value: np.ndarray) -> str:
        """The name of a new constant."""
        if name not in self._tensors:
            self.take([numpy_helper.from_array(value, name)], [])
        return name

    def unsqueezed(self, value: str, output: str, axis: int) -> onnx.NodeProto:
        """A tensor with one more axis, of one element."""
        if self.opset < 13:
            return helper.make_node("Unsqueeze", [value], [output], axes=[axis])
        axes = self.constant(f"{output}#axes", np.asarray([axis], np.int64))
        return helper.make_node("Unsqueeze", [value, axes], [output])

    def stacked(self, parts: Sequence[str], output: str, axis: int) -> list[onnx.NodeProto]:
        """Tensors of one shape, along a new axis."""
        names = [f"{output}#part{at}" for at in range(len(parts))]
        nodes = [self.unsqueezed(part, name, axis) for part, name in zip(parts, names, strict=True)]
        return [*nodes, helper.make_node("Concat", names, [output], axis=axis)]

    def _learn(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            given = {name: self.array(name) for name in node.input if self._is_small(name)}
            known = {name: array for name, array in given.items() if array is not None}
            self._arrays |= evaluated(node, known, self.opsets) or {}

    def _is_small(self, name: str) -> bool:
        """Whether a value may be a constant that is no weight."""
        tensor = self._tensors.get(name)
        return tensor is None or math.prod(tensor.dims) <= _SMALL
