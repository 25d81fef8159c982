"""A model's inputs and outputs, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil


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

    @property
    def excess(self) -> str:
        """How it exceeds what this machine can hold, in words; nothing where it does not. An output
        is held twice at least: ours and the reference's."""
        bits = int("".join(filter(str.isdigit, self.dtype)) or 8)
        needed, there = math.prod(self.shape) * bits / 8e9, psutil.virtual_memory().total / 1e9
        text = f"{needed:,.0f} GB, over half of this machine's {there:,.0f} GB of memory"
        return text if needed > there / 2 else ""


def tensor_specs(found: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Tensors from their fields, as JSON has them."""
    return tuple(TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in found)
