"""What a converter of a TFLite operator is, and what it is given.

It takes an `Operation` and gives a Relax expression: a tuple where the operator has several
outputs, None where it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.tflite.graph import Tensor


class Unsupported(Exception):
    """A form of an operator that is not supported; the text says which, without the operator."""


class Operation:
    """An operator with its inputs, whose values are floats or integers as its row of `VIEWS`
    says."""

    def __init__(
        self,
        name: str,
        raw: Any,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        values: Mapping[int, relax.Expr],
        arrays: Mapping[int, np.ndarray],
        builder: relax.BlockBuilder,
    ) -> None:
        self.name, self.raw = name, raw
        self.inputs, self.outputs = inputs, outputs
        self.builder = builder
        self._values, self._arrays = values, arrays

    def given(self, at: int) -> bool:
        """Whether the model gives an input, which may be left out."""
        return at < len(self.inputs) and self.inputs[at] is not None

    def tensor(self, at: int) -> Tensor:
        found = self.inputs[at] if self.given(at) else None
        if found is None:
            raise Unsupported(f"input {at} is missing")
        return found

    def value(self, at: int) -> relax.Expr:
        tensor = self.tensor(at)
        if tensor.index not in self._values:
            raise Unsupported(f"'{tensor.name}' is neither computed nor a plain constant")
        return self._values[tensor.index]

    def shape(self, at: int) -> tuple[int, ...]:
        """The extents of an input."""
        return tuple(shape_of(self.value(at)))

    def known(self, at: int) -> bool:
        """Whether an input is a constant."""
        return self.given(at) and self.tensor(at).index in self._arrays

    def array(self, at: int) -> np.ndarray:
        """The values of an input that is a constant. Raises Unsupported for another."""
        if not self.known(at):
            raise Unsupported(f"input {at}, '{self.tensor(at).name}', is not a constant")
        return self._arrays[self.tensor(at).index]

    def integers(self, at: int) -> list[int]:
        return [int(each) for each in self.array(at).reshape(-1)]

    def options(self, name: str) -> Any:
        """The operator's table of options, with the schema's defaults where it has none."""
        import tflite

        found, table = getattr(tflite, name)(), self.raw.BuiltinOptions()
        if table is None:
            found.Init(*_empty_table())
        else:
            found.Init(table.Bytes, table.Pos)
        return found

    def emit(self, value: relax.Expr) -> relax.Expr:
        return self.builder.emit(value)


Converter: TypeAlias = Callable[[Operation], "relax.Expr | None"]


def activated(value: relax.Expr, function: int) -> relax.Expr:
    """A value after one of the activations that operators contain."""
    if function not in _ACTIVATIONS:
        raise Unsupported(f"activation {function}")
    return _ACTIVATIONS[function](value)


_ACTIVATIONS: Mapping[int, Callable[[relax.Expr], relax.Expr]] = {
    0: lambda x: x,
    1: relax.op.nn.relu,
    2: lambda x: relax.op.clip(x, -1, 1),
    3: lambda x: relax.op.clip(x, 0, 6),
    4: relax.op.tanh,
}
"""By the numbers of `ActivationFunctionType`."""


_SAME = 0
"""TFLite's number of the padding that keeps extents."""


def padding_of(
    kind: int, extents: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[int]:
    """What is padded before each extent, then behind each."""
    if kind != _SAME:
        return [0] * (2 * len(extents))
    beyond = [
        max((math.ceil(extent / stride) - 1) * stride + size - extent, 0)
        for extent, size, stride in zip(extents, window, strides, strict=True)
    ]
    before = [each // 2 for each in beyond]
    return before + [each - first for each, first in zip(beyond, before, strict=True)]


def _empty_table() -> tuple[bytearray, int]:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(16)
    builder.StartObject(0)
    table = builder.EndObject()
    builder.Finish(table)
    content = builder.Output()
    return content, int.from_bytes(content[:4], "little")
