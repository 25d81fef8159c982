"""Operators that the reference implementation of the `onnx` package lacks for old opsets, rounds,
or gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from ml_dtypes import iinfo
from onnx import TensorProto, helper
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
    """To the nearest step, halves to even, saturated; scales per tensor, axis or block."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, **attributes: Any
    ) -> tuple[np.ndarray]:
        if zero is None:
            given = attributes.get("output_dtype") or TensorProto.UINT8
            zero = np.zeros((), helper.tensor_dtype_to_np_dtype(given))
        return (quantized(x, scale, zero, **attributes),)


class DequantizeLinear(_Operator):
    """A real number for each step; scales per tensor, axis or block."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, **attributes: Any
    ) -> tuple[np.ndarray]:
        return (dequantized(x, scale, zero, **attributes),)


OPERATORS: tuple[type[OpRun], ...] = (
    Erf,
    Sigmoid,
    GlobalMaxPool,
    QuantizeLinear,
    DequantizeLinear,
)


def quantized(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, **attributes: Any) -> np.ndarray:
    """Integers of the zero point's type; scales are along axis 1 where no attribute says more."""
    limits = iinfo(zero.dtype)  # type: ignore[no-untyped-call]
    steps = np.rint(x / _along(scale, x, attributes)) + _along(zero, x, attributes)
    return np.asarray(np.clip(steps, limits.min, limits.max), zero.dtype)


def dequantized(
    x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, **attributes: Any
) -> np.ndarray:
    """What integers stand for; scales as in `quantized`."""
    offset = 0.0 if zero is None else _along(zero, x, attributes)
    return np.asarray((x.astype(np.float64) - offset) * _along(scale, x, attributes))


def _along(values: np.ndarray, x: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """Values of the whole of x, or one for each index or block of an axis, as they broadcast to
    x."""
    values, axis = values.astype(np.float64), int(attributes.get("axis", 1))
    if block := attributes.get("block_size"):
        return values.repeat(block, axis).take(range(x.shape[axis]), axis)
    if values.size == 1:
        return values.reshape(())
    shape = [1] * x.ndim
    shape[axis if x.ndim > 1 else 0] = -1
    return values.reshape(shape)
