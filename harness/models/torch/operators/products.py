"""Matrix products and convolutions, in the data type of their operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.torch.operators.converter import Call, Converter
from harness.models.torch.refusal import Unsupported

op = relax.op


def _accumulated(dtype: str) -> str:
    """The type of sums: half precision is summed in single, as PyTorch does."""
    return "float32" if dtype in {"float16", "bfloat16"} else dtype


def _product(call: Call, left: str, right: str) -> relax.Expr:
    """In the type of sums."""
    factors = call.tensor(left), call.tensor(right)
    return call.emit(op.matmul(*factors, out_dtype=_accumulated(call.dtype)))


def _matmul(call: Call) -> relax.Expr:
    return call.cast(_product(call, *list(call.arguments)[:2]), call.dtype)


def _sum_with_product(call: Call) -> relax.Expr:
    """beta · self + alpha · (mat1 · mat2), rounded once"""
    result = _scaled(call, _product(call, "mat1", "mat2"), call["alpha"])
    if call["beta"] != 0:
        added = call.cast(call.tensor("self"), _accumulated(call.dtype))
        result = call.emit(op.add(result, _scaled(call, added, call["beta"])))
    return call.cast(result, call.dtype)


def _scaled(call: Call, value: relax.Expr, factor: float) -> relax.Expr:
    if factor == 1:
        return value
    return call.emit(op.multiply(value, relax.const(factor, str(value.ty.dtype))))


@dataclass(frozen=True)
class _Layout:
    """The operators for a number of spatial axes, and their names of these."""

    convolution: Callable[..., relax.Expr]
    transposed: Callable[..., relax.Expr]
    axes: str


_LAYOUTS = {
    1: _Layout(op.nn.conv1d, op.nn.conv1d_transpose, "W"),
    2: _Layout(op.nn.conv2d, op.nn.conv2d_transpose, "HW"),
    3: _Layout(op.nn.conv3d, op.nn.conv3d_transpose, "DHW"),
}


def _convolution(call: Call) -> relax.Expr:
    data, weight = call.tensor("input"), call.tensor("weight")
    spatial = len(shape_of(weight)) - 2
    if spatial not in _LAYOUTS:
        raise Unsupported(f"a convolution over {spatial} axes")
    layout = _LAYOUTS[spatial]
    form: dict[str, Any] = {
        "strides": list(call["stride"]),
        "padding": list(call["padding"]),
        "dilation": list(call["dilation"]),
        "groups": call["groups"],
        "data_layout": f"NC{layout.axes}",
        "out_dtype": _accumulated(call.dtype),
    }
    if call["transposed"]:
        form |= {
            "output_padding": list(call["output_padding"]),
            "kernel_layout": f"IO{layout.axes}",
        }
        found = layout.transposed(data, weight, **form)
    else:
        found = layout.convolution(data, weight, kernel_layout=f"OI{layout.axes}", **form)
    result = call.emit(found)
    if call["bias"] is not None:
        bias = call.cast(call.tensor("bias"), _accumulated(call.dtype))
        bias = call.emit(op.reshape(bias, [1, -1, *([1] * spatial)]))
        result = call.emit(op.add(result, bias))
    return call.cast(result, call.dtype)


def _trilinear(call: Call) -> relax.Expr:
    """The product of three tensors with axes of one element put in, summed over axes."""
    factors = []
    for at in (1, 2, 3):
        factor, added = call.tensor(f"i{at}"), sorted(call[f"expand{at}"])
        factors.append(call.emit(op.expand_dims(factor, added)) if added else factor)
    first, second, third = factors
    product = call.emit(op.multiply(op.multiply(first, third), second))
    return call.emit(op.sum(product, list(call["sumdim"])))


def _grouped_product(call: Call) -> relax.Expr:
    """Each row by the matrix of its group: `offs` [E] says at which row each of [E, K, N] ends.
    Rows behind the last are 0."""
    rows, matrices, ends = (call.tensor(name) for name in list(call.arguments)[:3])
    count, (groups, inner, outer) = shape_of(rows)[0], shape_of(matrices)
    row = relax.const(np.arange(count).reshape(-1, 1), "int64")
    over = call.emit(op.less_equal(call.cast(ends, "int64"), row))
    group = call.emit(op.sum(call.cast(over, "int64"), 1))
    last = relax.const(groups - 1, "int64")
    chosen = call.emit(op.take(matrices, call.emit(op.minimum(group, last)), 0))
    product = op.matmul(
        call.reshaped(rows, (count, 1, inner)), chosen, out_dtype=_accumulated(call.dtype)
    )
    result = call.cast(call.reshaped(call.emit(product), (count, outer)), call.dtype)
    behind = call.reshaped(call.emit(op.greater(group, last)), (count, 1))
    return call.emit(op.where(behind, relax.const(0, call.dtype), result))


def _grouped_product_of_rows(call: Call) -> relax.Expr:
    if call["offs"] is None or len(shape_of(call["self"])) != 2 or call["bias"] is not None:
        raise Unsupported("expected rows [S, K], their ends in `offs`, and no bias")
    if len(shape_of(call["mat2"])) != 3:
        raise Unsupported("expected a matrix for each group, [E, K, N]")
    return _grouped_product(call)


PRODUCTS: dict[str, Converter] = {
    "_grouped_mm.default": _grouped_product_of_rows,
    "grouped_mm.default": _grouped_product,
    "_trilinear.default": _trilinear,
    "mm.default": _matmul,
    "bmm.default": _matmul,
    "addmm.default": _sum_with_product,
    "convolution.default": _convolution,
}
