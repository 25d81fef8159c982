"""The inputs of a model among arrays by name: samples as rows, put together into batches where the
model takes several at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 by its name then
import numpy as np

from harness.errors import InputError, did_you_mean
from harness.models.data.task import Feeds
from harness.models.tensors import TensorSpec

LABELS = "labels"
INPUTS = "inputs"
_NOT_IN_FILES = "bfloat16"
"""A type that NumPy writes into no file: data of such inputs are stored as float32."""
Inputs = Sequence[TensorSpec]


@dataclass(frozen=True)
class Batches:
    """A model's inputs by name, each [inferences, *shape], or where `size` is above 1 each
    [rows, *shape without the batch axis], of which so many rows are one inference."""

    arrays: dict[str, np.ndarray]
    rows: int
    size: int = 1

    @property
    def inferences(self) -> int:
        return -(-self.rows // self.size)

    def feeds(self, at: int) -> Feeds:
        """The inputs of an inference. The last one is filled up with its last row."""
        if self.size == 1:
            # Not ascontiguousarray, which gives a scalar an axis.
            return {name: np.asarray(array[at], order="C") for name, array in self.arrays.items()}
        rows = np.minimum(np.arange(at * self.size, (at + 1) * self.size), self.rows - 1)
        return {name: array[rows] for name, array in self.arrays.items()}


def batches(arrays: Mapping[str, np.ndarray], inputs: Inputs | None, path: Path) -> Batches:
    """The inputs of a model among the arrays of a file. Raises InputError where they do not fit."""
    named = _unchecked(arrays, path) if inputs is None else _checked(arrays, inputs, path)
    counts = {name: len(array) for name, (array, _) in named.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise InputError(f"{path}: expected as many samples of each input, found {counts}")
    sizes = {name: size for name, (_, size) in named.items()}
    if len(set(sizes.values())) != 1:
        raise InputError(
            f"{path}: the rows of some inputs are to be put together into batches, those of others "
            f"are not: found {sizes} a batch; give every input with its batch axis"
        )
    return Batches(
        {name: array for name, (array, _) in named.items()},
        rows=next(iter(counts.values())),
        size=next(iter(sizes.values())),
    )


def take(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """The array of this name; InputError with the nearest name if there is none."""
    if name not in arrays:
        raise InputError(f"{path}: no array '{name}'{did_you_mean(name, arrays)}")
    return arrays[name]


def _checked(
    arrays: Mapping[str, np.ndarray], inputs: Inputs, path: Path
) -> dict[str, tuple[np.ndarray, int]]:
    """One array per input, and how many of its rows are one inference."""
    alone = len(inputs) == 1 and inputs[0].name not in arrays and INPUTS in arrays
    return {
        tensor.name: _fitted(take(arrays, INPUTS if alone else tensor.name, path), tensor, path)
        for tensor in inputs
    }


def _unchecked(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, tuple[np.ndarray, int]]:
    """Every array but the labels, unchanged: the model's inputs are not known yet."""
    named = {name: array for name, array in arrays.items() if name != LABELS}
    if not named or not all(array.ndim for array in named.values()):
        raise InputError(
            f"{path}: expected one array per input, named as the input, "
            f"found {', '.join(sorted(arrays))}"
        )
    return {name: (array, 1) for name, array in named.items()}


def _fitted(array: np.ndarray, tensor: TensorSpec, path: Path) -> tuple[np.ndarray, int]:
    """The array as [inferences, *shape of the input], or as rows of which several are a batch, and
    how many. Raises InputError when it does not fit."""
    if tensor.dtype == _NOT_IN_FILES and array.dtype == np.float32:
        array = array.astype(_NOT_IN_FILES)
    if array.dtype != np.dtype(tensor.dtype):
        stored = ", stored as float32" if tensor.dtype == _NOT_IN_FILES else ""
        raise InputError(
            f"{path}: input '{tensor.name}' is {array.dtype}; the model takes {tensor.dtype}"
            + stored
        )
    found = tuple(array.shape[1:])
    if array.ndim and found == tensor.shape:
        return array, 1
    if array.ndim and tensor.shape and found == tensor.shape[1:]:
        size = tensor.shape[0]
        return (array[:, np.newaxis], 1) if size == 1 else (array, size)
    if array.ndim and tensor.shape and found == (1, *tensor.shape[1:]):
        return array[:, 0], tensor.shape[0]
    if not tensor.shape and found == (1,):
        return array[:, 0], 1
    raise InputError(
        f"{path}: input '{tensor.name}' has shape {list(array.shape)}; "
        f"expected {_rows(tensor.shape)}{f' or {_rows(tensor.shape[1:])}' if tensor.shape else ''}"
    )


def _rows(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(['samples', *map(str, shape)])}]"
