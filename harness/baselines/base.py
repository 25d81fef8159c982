"""The interface of engines, and checks that every engine needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import InputError, unknown_name
from harness.models.tensors import TensorSpec

Feeds = Mapping[str, np.ndarray]


class Session(Protocol):
    """A model loaded by one engine, ready to run with a fixed number of threads."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the model's order."""
        ...

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        """The outputs, in the model's order, as arrays that later runs leave alone.

        Raises InputError for an input that is missing, unknown, or of another shape or dtype.
        """
        ...

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        """A function that runs one inference on these inputs, with the least work around it that
        the engine allows. Its outputs stay inside the engine. Raises InputError as `run` does."""
        ...


_NUMBERS = frozenset(
    {"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"}
    | {"uint8", "uint16", "uint32", "uint64"}
)


def require_numbers(kind: str, name: str, found: str, path: Path) -> None:
    """Raise InputError unless an input or output is a tensor of numbers that NumPy has: `found` is
    NumPy's name of its dtype, or the engine's name of another kind."""
    if found not in _NUMBERS:
        raise InputError(f"{path}: {kind} '{name}' is {found}, expected a tensor of real numbers")


def checked(inputs: Sequence[TensorSpec], feeds: Feeds) -> list[np.ndarray]:
    """The arrays of `feeds` in the order of `inputs`, contiguous, as copies: engines keep pointers
    to them, and the caller may write into its own.

    Raises InputError for an input that is missing, unknown, or of another shape or dtype.
    """
    known = [spec.name for spec in inputs]
    for name in feeds:
        if name not in known:
            raise unknown_name("input", name, known)
    arrays = []
    for spec in inputs:
        if spec.name not in feeds:
            raise InputError(f"input '{spec.name}' is missing; expected {spec}")
        array = np.asarray(feeds[spec.name])
        if array.shape != spec.shape or array.dtype.name != spec.dtype:
            raise InputError(
                f"input '{spec.name}': expected {spec.dtype} {list(spec.shape)}, "
                f"found {array.dtype.name} {list(array.shape)}"
            )
        arrays.append(np.array(array, order="C"))
    return arrays
