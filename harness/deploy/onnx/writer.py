"""The writing of an operator: its rule, and the model that it writes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from harness.compiler.api import relax


class Writer(Protocol):
    """A model that is written node by node."""

    def name(self, expr: relax.Expr) -> str:
        """The name of a value; constants are written where they are read."""
        ...

    def fields(self, expr: relax.Expr) -> list[str]:
        """The names of a tuple's values."""
        ...

    def constant(self, values: np.ndarray) -> str:
        """The name of a new constant."""
        ...

    def add(
        self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """The names of a new node's outputs."""
        ...

    def divided(self, name: str) -> tuple[str, float] | None:
        """The name of what the last node multiplied by a number to make a value, and the number
        that this is a division by; the node is gone then. None of any other value."""
        ...

    def with_bias(self, name: str, bias: np.ndarray) -> bool:
        """Whether the convolution that made a value has taken up a bias."""
        ...


Rule = Callable[[Writer, relax.Call, relax.Var], "str | Sequence[str]"]
"""Writes a call, whose result is bound to the variable; the names of its results."""


def numbers(values: Any) -> list[int]:
    return [int(value) for value in values]


def integers(writer: Writer, values: Sequence[int]) -> str:
    return writer.constant(np.array(values, np.int64))
