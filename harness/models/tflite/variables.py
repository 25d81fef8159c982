"""State that a TFLite model keeps in variables from one inference to the next.

A network in Relax is a pure function. It computes the first inference: variables begin with the
values that the file gives them, or zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant, relax
from harness.models.tflite.operation import Operation, Unsupported


class Variables:
    """The values of a model's variables, and the tensors of a graph that stand for them."""

    def __init__(self, values: dict[tuple[str, str], relax.Expr] | None = None) -> None:
        self._values = {} if values is None else values
        self._keys: dict[int, tuple[str, str]] = {}

    def of_graph(self) -> Variables:
        """The same variables for another graph."""
        return Variables(self._values)

    def declare(self, operation: Operation) -> None:
        options = operation.options("VarHandleOptions")
        handle = operation.outputs[0]
        key = _text(options.Container()), _text(options.SharedName())
        self._keys[handle.index] = key if any(key) else ("", handle.name)

    def read(self, operation: Operation) -> relax.Expr:
        result = operation.outputs[0]
        key = self._key(operation)
        if key not in self._values:
            self._values[key] = constant(np.zeros(result.shape, result.dtype))
        return self._values[key]

    def assign(self, operation: Operation) -> None:
        self._values[self._key(operation)] = operation.value(1)

    def _key(self, operation: Operation) -> tuple[str, str]:
        handle = operation.tensor(0)
        if handle.index not in self._keys:
            raise Unsupported(f"'{handle.name}' is a variable of another graph")
        return self._keys[handle.index]


VARIABLES: dict[str, Callable[[Operation, Variables], relax.Expr | None]] = {
    "ASSIGN_VARIABLE": lambda operation, variables: variables.assign(operation),
    "READ_VARIABLE": lambda operation, variables: variables.read(operation),
    "VAR_HANDLE": lambda operation, variables: variables.declare(operation),
}


def _text(value: Any) -> str:
    return "" if value is None else str(value.decode())
