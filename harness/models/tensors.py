"""A model's inputs and outputs, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ValueRange:
    """Which values an input can have: integers from 0 to below `extent`, where that is known;
    `infinite` ones where the network looks for them; and none that are 0 where it divides integers
    by them."""

    extent: int | None = None
    infinite: bool = False
    divides: bool = False


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model: its name, its static shape, its NumPy dtype's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {list(self.shape)}"


def tensor_specs(found: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Tensors from their fields, as JSON has them."""
    return tuple(TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in found)
