"""Quantized operators of ONNX Runtime's own domain in 64-bit floats: each computes with the real
numbers that its integers stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_average_pool import AveragePool_19
from onnx.reference.ops.op_dynamic_quantize_linear import DynamicQuantizeLinear
from scipy.special import expit, softmax

from harness.judges.onnx_operators import (
    DequantizeLinear,
    QuantizeLinear,
    dequantized,
    quantized,
)

Array = np.ndarray
Zero = np.ndarray | None


class _Operator(OpRun):  # type: ignore[misc]
    op_domain = "com.microsoft"


class QLinearAdd(_Operator):
    def _run(self, *given: Any) -> tuple[Array]:
        return _of_two(np.add, *given)


class QLinearMul(_Operator):
    def _run(self, *given: Any) -> tuple[Array]:
        return _of_two(np.multiply, *given)


def _of_two(function: Any, *given: Any) -> tuple[Array]:
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = (*given, None)[:8]
    result = function(dequantized(a, a_scale, a_zero), dequantized(b, b_scale, b_zero))
    return (_as(result, scale, zero, a.dtype),)


def _as(value: Array, scale: Array, zero: Zero, dtype: Any) -> Array:
    return quantized(value, scale, np.zeros((), dtype) if zero is None else zero)


class QLinearSigmoid(_Operator):
    def _run(self, x: Array, x_scale: Array, x_zero: Zero, scale: Array, zero: Zero = None) -> Any:
        return (_as(expit(dequantized(x, x_scale, x_zero)), scale, zero, x.dtype),)


class QLinearLeakyRelu(_Operator):
    def _run(
        self, x: Array, x_scale: Array, x_zero: Zero, scale: Array, zero: Zero = None,
        alpha: float = 0.01,
    ) -> Any:  # fmt: skip
        value = dequantized(x, x_scale, x_zero)
        return (_as(np.where(value < 0, alpha * value, value), scale, zero, x.dtype),)


class QLinearSoftmax(_Operator):
    def _run(
        self, x: Array, x_scale: Array, x_zero: Zero, scale: Array, zero: Zero = None,
        axis: int = -1, opset: int = 13,
    ) -> Any:  # fmt: skip
        value, along = dequantized(x, x_scale, x_zero), axis % x.ndim
        axes = tuple(range(along, x.ndim)) if opset < 13 else along
        return (_as(softmax(value, axes), 1 / np.floor(1 / scale), zero, x.dtype),)


class QLinearGlobalAveragePool(_Operator):
    def _run(
        self, x: Array, x_scale: Array, x_zero: Zero, scale: Array, zero: Zero,
        channels_last: int = 0,
    ) -> Any:  # fmt: skip
        axes = tuple(range(1, x.ndim - 1) if channels_last else range(2, x.ndim))
        mean = dequantized(x, x_scale, x_zero).mean(axes, keepdims=True)
        return (_as(mean, scale, zero, x.dtype),)


class QLinearAveragePool(_Operator):
    def _run(
        self, x: Array, x_scale: Array, x_zero: Zero, scale: Array, zero: Zero = None,
        channels_last: int = 0, **attributes: Any,
    ) -> Any:  # fmt: skip
        value = dequantized(x, x_scale, x_zero)
        value = np.moveaxis(value, -1, 1) if channels_last else value
        mean = AveragePool_19.eval(value, **attributes)
        return (_as(np.moveaxis(mean, 1, -1) if channels_last else mean, scale, zero, x.dtype),)


class QLinearConcat(_Operator):
    def _run(self, scale: Array, zero: Zero, *given: Any, axis: int = 0) -> tuple[Array]:
        parts = [dequantized(*given[at : at + 3]) for at in range(0, len(given), 3)]
        return (_as(np.concatenate(parts, axis), scale, zero, given[0].dtype),)


class QLinearWhere(_Operator):
    def _run(self, condition: Array, *given: Any) -> tuple[Array]:
        value = np.where(condition, dequantized(*given[:3]), dequantized(*given[3:6]))
        return (_as(value, given[6], given[7], given[0].dtype),)


class QGemm(_Operator):
    def _run(
        self, a: Array, a_scale: Array, a_zero: Zero, b: Array, b_scale: Array, b_zero: Zero,
        c: Array | None = None, scale: Array | None = None, zero: Zero = None,
        alpha: float = 1.0, transA: int = 0, transB: int = 0,
    ) -> Any:  # fmt: skip
        left = dequantized(a.T if transA else a, a_scale, a_zero)
        value = left @ dequantized(b.T if transB else b, b_scale, b_zero)
        value = alpha * (value + (0 if c is None else c * a_scale * b_scale))
        return (value if scale is None else _as(value, scale, zero, a.dtype),)


class MatMulIntegerToFloat(_Operator):
    def _run(
        self, a: Array, b: Array, a_scale: Array, b_scale: Array, a_zero: Zero = None,
        b_zero: Zero = None, bias: Array | None = None,
    ) -> Any:  # fmt: skip
        value = dequantized(a, a_scale, a_zero) @ dequantized(b, b_scale, b_zero, axis=-1)
        return (value if bias is None else value + bias,)


class DynamicQuantizeMatMul(_Operator):
    def _run(
        self, x: Array, b: Array, b_scale: Array, b_zero: Zero = None, bias: Array | None = None
    ) -> Any:
        value = dequantized(*DynamicQuantizeLinear.eval(x)) @ dequantized(
            b, b_scale, b_zero, axis=-1
        )
        return (value if bias is None else value + bias,)


class DynamicQuantizeLSTM(_Operator):
    """With the usual activations, of sequences that are all as long, without peepholes."""

    def _run(
        self, x: Array, w: Array, r: Array, bias: Array | None, lengths: Array | None,
        state: Array | None, memory: Array | None, peepholes: Array | None,
        w_scale: Array, w_zero: Array, r_scale: Array, r_zero: Array,
        direction: str = "forward", activations: list[str] | None = None, clip: float = 0.0,
        input_forget: int = 0, **others: Any,
    ) -> Any:  # fmt: skip
        usual = ["sigmoid", "tanh", "tanh"] * len(w)
        named = [name.lower() for name in activations or usual]
        if lengths is not None or peepholes is not None or clip or input_forget or named != usual:
            raise NotImplementedError("an LSTM that is not the usual one")
        given = _steps_of(x)
        shape = (len(w), x.shape[1], r.shape[1])
        states, memories = (
            np.zeros(shape) if each is None else each.copy() for each in (state, memory)
        )
        every = np.empty((len(x), *shape))
        biases = np.zeros((len(w), 8 * r.shape[1])) if bias is None else bias
        for at in range(len(w)):
            of_input, of_state = (
                dequantized(weights[at], scale[at], zero[at], axis=-1)
                for weights, scale, zero in ((w, w_scale, w_zero), (r, r_scale, r_zero))
            )
            products = given @ of_input + biases[at].reshape(2, -1).sum(0)
            backwards = direction == "reverse" or at == 1
            for time in range(len(x))[:: -1 if backwards else 1]:
                gates = products[time] + _steps_of(states[at]) @ of_state
                i, o, f, c = np.split(gates, 4, axis=-1)
                memories[at] = expit(f) * memories[at] + expit(i) * np.tanh(c)
                states[at] = every[time, at] = expit(o) * np.tanh(memories[at])
        return every, states, memories


def _steps_of(x: Array) -> Array:
    """Real numbers in the steps that their range is quantized in."""
    return dequantized(*DynamicQuantizeLinear.eval(x)) if np.any(x) else x


RUNTIME_OPERATORS: tuple[type[OpRun], ...] = (
    QLinearAdd,
    QLinearMul,
    QLinearSigmoid,
    QLinearLeakyRelu,
    QLinearSoftmax,
    QLinearGlobalAveragePool,
    QLinearAveragePool,
    QLinearConcat,
    QLinearWhere,
    QGemm,
    MatMulIntegerToFloat,
    DynamicQuantizeMatMul,
    DynamicQuantizeLSTM,
    *(
        type(operator.__name__, (operator,), {"op_domain": _Operator.op_domain})
        for operator in (QuantizeLinear, DequantizeLinear)
    ),
)
