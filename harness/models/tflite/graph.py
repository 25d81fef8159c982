"""The tensors of a TFLite graph: what the file says of each, and the values of constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.models.tflite.shapes import tensor_name

_QUANTIZED = frozenset({"int8", "uint8", "int16"})
"""Types whose values are real numbers in steps where a tensor has a scale."""


@dataclass(frozen=True)
class Quantization:
    """A real number is `scale · (integer − zero_point)`; both have one value, or one for each index
    of `axis`."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    def same_steps(self, other: Quantization | None) -> bool:
        return (
            other is not None
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file. `variable` says that it keeps its value between inferences; `steps` are
    those of its integers, `scaled` also those of other types, such as a bias."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scaled: Quantization | None = None
    variable: bool = False

    @property
    def steps(self) -> Quantization | None:
        return self.scaled if self.dtype in _QUANTIZED else None

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Graph:
    """The tensors of a subgraph; `computed` has values of those that no input changes."""

    def __init__(self, model: Any, subgraph: Any, computed: Mapping[int, np.ndarray]) -> None:
        self._model, self._subgraph, self._computed = model, subgraph, computed

    def raw(self, index: int) -> Any:
        """TFLite's own object."""
        return self._subgraph.Tensors(index)

    def tensor(self, index: int) -> Tensor:
        raw = self.raw(index)
        return Tensor(
            index,
            tensor_name(raw, index),
            tuple(raw.Shape(axis) for axis in range(raw.ShapeLength())),
            dtype_name(raw.Type()),
            _quantization(raw.Quantization()),
            bool(raw.IsVariable()),
        )

    def holds_content(self, index: int) -> bool:
        """Whether the file has values of a tensor."""
        return bool(self._model.Buffers(self.raw(index).Buffer()).DataLength())

    def constant(self, index: int) -> np.ndarray | None:
        """The values of a constant, None for other tensors. A variable has those that it begins
        with."""
        if index in self._computed:
            return self._computed[index]
        tensor = self.tensor(index)
        content = self._model.Buffers(self.raw(index).Buffer())
        if content.DataLength() and self.raw(index).Sparsity() is not None:
            return None  # its zeros are not stored
        if content.DataLength():
            values = content.DataAsNumpy()
            # Of strings and 4-bit integers there is no array.
            dtype = None if tensor.dtype.startswith(("string", "type")) else np.dtype(tensor.dtype)
            return None if dtype is None else np.frombuffer(values, dtype).reshape(tensor.shape)
        if not tensor.variable:
            return None
        # Real zeros, as LiteRT begins with.
        zero = tensor.steps.zero_point[0] if tensor.steps is not None else 0
        return np.full(tensor.shape, zero, tensor.dtype)


def dtype_name(kind: int) -> str:
    """A type of TFLite as NumPy names it."""
    import tflite

    names = {value: name.lower() for name, value in vars(tflite.TensorType).items()}
    return str(names.get(kind, f"type {kind}"))


def _quantization(found: Any) -> Quantization | None:
    if found is None or not found.ScaleLength():
        return None
    scale = np.array(found.ScaleAsNumpy(), np.float32)
    points = found.ZeroPointAsNumpy() if found.ZeroPointLength() else np.zeros(1)
    if len(scale) == 1 and not scale[0]:
        return None
    zero_point = np.broadcast_to(np.asarray(points).astype(np.int32), scale.shape)
    return Quantization(scale, zero_point, int(found.QuantizedDimension()))
