"""Operators that the reference implementation of the `onnx` package lacks for old opsets, rounds,
or gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from scipy.special import erf, expit


class _Operator(OpRun):  # type: ignore[misc]
    op_domain = ""


class Erf(_Operator):
    """The reference's is rounded to 32 bits."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (erf(x),)


class Sigmoid(_Operator):
    """ONNX Runtime's, by way of a tanh, cancels below -30."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (expit(x),)


class GlobalMaxPool(_Operator):
    """The reference implementation drops an axis of extent 1."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class QuantizeLinear(_Operator):
    """To the nearest step, halves to even, saturated; scales per tensor or per axis."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, **attributes: Any
    ) -> tuple[np.ndarray]:
        offset = np.zeros((), np.uint8) if zero is None else zero
        limits = np.iinfo(offset.dtype)
        steps = np.rint(x / _along(scale, x, attributes)) + _along(offset, x, attributes)
        return (np.clip(steps, limits.min, limits.max).astype(offset.dtype),)


class DequantizeLinear(_Operator):
    """A real number for each step; scales per tensor or per axis."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, **attributes: Any
    ) -> tuple[np.ndarray]:
        offset = 0.0 if zero is None else _along(zero, x, attributes)
        return ((x.astype(np.float64) - offset) * _along(scale, x, attributes),)


OPERATORS: tuple[type[OpRun], ...] = (
    Erf,
    Sigmoid,
    GlobalMaxPool,
    QuantizeLinear,
    DequantizeLinear,
)


def _along(values: np.ndarray, x: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """Values of the whole of x, or one for each index of an axis, as they broadcast to x."""
    if attributes.get("block_size"):
        raise NotImplementedError("scales of blocks")
    values = values.astype(np.float64)
    if values.size == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[int(attributes.get("axis", 1))] = -1
    return values.reshape(shape)
