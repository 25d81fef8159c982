"""Products of quantized data with quantized weights are computed in integers.

A model's quantized layer comes as a convolution or a product of floats: data that `dequantize`
makes of integers, and weights that are integers times a scale, which is found again from their
values. It becomes a product of 8-bit integers that is summed in 32 bits, and multiplied by both
scales. A layer that the model computes in integers less their zero points becomes the same product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from harness.compiler.api import (
    OUT_FUSABLE,
    constant,
    constant_number,
    operator_name,
    relax,
    shape_of,
    te,
    tirx,
    tvm,
)
from harness.compiler.names import constant_like, name_of
from harness.kernels.dot_products import Products, words_in_16_bits
from harness.passes.integer_kernels import Kernel, dense_kernel, sparse_kernel, window_of
from harness.passes.rewriter import Rewriter, with_arguments
from harness.passes.steps import as_bytes, in_steps
from harness.passes.weighted import PRODUCT, Weighted, as_stored, weighted

_BYTES, _WIDER = ("int8", "uint8"), ("int16", "int32")
_LARGEST_DATA = 255
_LARGEST_SUM, _LARGEST_WHOLE = 2**31 - 1, 2**24
_OFFSET = 128
"""What unsigned integers have that signed ones have not, for the same number."""


@dataclass(frozen=True)
class _Data:
    """Integers, their zero point (a number, or a value that is known when the network runs), and
    their scale; None for a product that the model has in integers."""

    values: relax.Expr
    zero_point: int | relax.Expr
    scale: float | None


class ComputeInIntegers(Rewriter):
    """Convolutions (NHWC, one group) and matrix products of 8-bit data and weights, as the target
    has the `products`. Blocks of zeros are left out, except in the layers that
    `dense` names; None stands for all layers."""

    def __init__(
        self,
        module: tvm.IRModule,
        lanes: int,
        products: Products,
        dense: Collection[str] | None = None,
    ) -> None:
        super().__init__(module)
        self._lanes = lanes
        self._products = products
        self._dense = dense
        self._unsigned: dict[relax.Var, relax.Expr] = {}
        """Signed integers to the same numbers in unsigned ones."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name in _RULES:
            return _RULES[name](self, call)
        found = weighted(call)
        if found is None or str(original.var.ty.dtype) not in ("float32", "int32"):
            return None
        return self._product(found)

    def _product(self, layer: Weighted) -> relax.Expr | None:
        image = layer.operator == "relax.nn.conv2d"
        grouped = image and layer.groups > 1
        if not grouped and not (layer.channels_last and (image or layer.operator == PRODUCT)):
            return None
        data = self._data(layer.call.args[0])
        if data is None or (layer.operator == PRODUCT and len(shape_of(data.values)) < 2):
            return None
        if data.scale is None:
            return None if grouped else self._of_integers(layer, data)
        found = in_steps(layer.matrix)
        if found is None or not _fits(layer, data, found[0]):
            return None
        steps, scales = found
        factors = (scales * data.scale).astype(np.float32)
        if grouped:
            return self._in_groups(layer, data, steps, factors)
        total = self.emit(relax.op.astype(self._summed(layer, data, steps), "float32"))
        return relax.op.multiply(total, constant(factors))

    def _in_groups(
        self, layer: Weighted, data: _Data, steps: np.ndarray, factors: np.ndarray
    ) -> relax.Expr | None:
        """A convolution in groups. No instruction sums over places instead of channels: the numbers
        are whole ones in single precision, in which the sums are exact."""
        if not isinstance(data.zero_point, int):
            return None
        values, point = data.values, data.zero_point
        if values in self._unsigned:
            values, point = self._unsigned[values], point + _OFFSET
        whole = self.emit(relax.op.astype(values, "float32"))
        if point:
            whole = self.emit(relax.op.subtract(whole, relax.const(float(point), "float32")))
        stored = as_stored(steps.astype(np.float32), layer)
        weights = constant_like(layer.call.args[1], stored)
        total = self.emit(with_arguments(layer.call, [whole, weights]))
        after = len(shape_of(total)) - layer.channel_axis - 1
        return relax.op.multiply(total, constant(factors.reshape(-1, *[1] * after)))

    def _of_integers(self, layer: Weighted, data: _Data) -> relax.Expr | None:
        """A product of integers. Weights that bytes do not hold, as unsigned ones less their zero
        point, are bytes and a number: of that the sum of the data is multiplied."""
        found = as_bytes(layer.matrix)
        if found is None or not _fits(layer, data, layer.matrix):
            return None
        steps, offsets = found
        of_offsets = np.broadcast_to(offsets, steps.shape)
        if not (_fits(layer, data, steps) and _fits(layer, data, of_offsets)):
            return None
        total = self._summed(layer, data, steps)
        if not offsets.any():
            return total
        data_alone = self._summed(layer, data, np.ones((len(steps), 1), np.int8), own=False)
        moved = self.emit(relax.op.multiply(data_alone, constant(offsets.astype("int32"))))
        return relax.op.add(total, moved)

    def _summed(
        self, layer: Weighted, data: _Data, steps: np.ndarray, *, own: bool = True
    ) -> relax.Expr:
        """The sums of products of data less their zero point with steps `[edges, outputs]`, int32.
        A layer's `own` weights have its name."""
        known = isinstance(data.zero_point, int)
        values, point = self._multiplied(data.values, data.zero_point if known else 0)
        found = self._sparse(layer, steps, point) if own else None
        kernel, (words, *places) = found or dense_kernel(layer, steps, point, self._lanes)
        kernel = partial(kernel, pairs=self._products.pairs * words_in_16_bits(words))
        weights = constant_like(layer.call.args[1], words) if own else constant(words)
        arguments = [values, weights, *map(constant, places)]
        total = self._called(kernel, arguments, layer, "sparse_" if found else "")
        columns = steps.sum(axis=0, dtype=np.int64)
        if point:
            total = self.emit(relax.op.subtract(total, constant((columns * point).astype("int32"))))
        if not known:
            wide = self.emit(relax.op.astype(data.zero_point, "int32"))
            wide = self.emit(relax.op.multiply(wide, constant(columns.astype("int32"))))
            total = self.emit(relax.op.subtract(total, wide))
        return total

    def _sparse(
        self, layer: Weighted, steps: np.ndarray, point: int
    ) -> tuple[Kernel, list[np.ndarray]] | None:
        if self._dense is None or name_of(layer.call.args[1]) in self._dense:
            return None
        return sparse_kernel(layer, steps, point, self._lanes)

    def _called(
        self, kernel: Kernel, arguments: list[relax.Expr], layer: Weighted, prefix: str
    ) -> relax.Expr:
        return self.emit(
            self.builder.call_te(
                kernel,
                *arguments,
                primfunc_name_hint=prefix + layer.operator.rpartition(".")[2],
                primfunc_attrs={"op_pattern": OUT_FUSABLE},
            )
        )

    def _multiplied(self, values: relax.Expr, point: int) -> tuple[relax.Expr, int]:
        """Integers of the type that the target multiplies, and their zero point."""
        dtype = str(values.ty.dtype)
        if dtype == self._products.dtype:
            return values, point
        if dtype == "int8":
            return self._as_unsigned(values), point + _OFFSET
        return self.emit(_shifted(self.builder, values, "int8")), point - _OFFSET

    def _as_unsigned(self, values: relax.Expr) -> relax.Expr:
        if values not in self._unsigned:
            self._unsigned[values] = self.emit(_shifted(self.builder, values, "uint8"))
        return self._unsigned[values]

    def _data(self, value: relax.Expr) -> _Data | None:
        source = self.source(value)
        if operator_name(source) == "relax.dequantize":
            values, scale, point = source.args[0], *map(constant_number, source.args[1:3])
            dtype = str(values.ty.dtype)
            if scale is None or point is None or dtype not in _BYTES:
                return None
            limits = np.iinfo(dtype)
            inside = limits.min <= point <= limits.max
            return _Data(values, int(point), scale) if inside else None
        return self._centred(source)

    def _centred(self, source: relax.Expr) -> _Data | None:
        """Integers less their zero point, as the importers of quantized operators write them."""
        if operator_name(source) in MOVING:
            found = self._centred(self.source(source.args[0]))
            if found is None:
                return None
            moved = with_arguments(source, [found.values, *source.args[1:]])
            return replace(found, values=self.emit(self.builder.normalize(moved)))
        point: int | relax.Expr | None = 0
        if operator_name(source) == "relax.subtract":
            point = self._point(source.args[1])
            if point is None:
                return None
            source = self.source(source.args[0])
        values = self._narrow(source)
        return None if values is None else _Data(values, point, None)

    def _point(self, value: relax.Expr) -> int | relax.Expr | None:
        number = constant_number(value)
        if number is not None:
            return int(number)
        found = self._narrow(value)
        return found if found is not None and math.prod(shape_of(found)) == 1 else None

    def _narrow(self, value: relax.Expr) -> relax.Expr | None:
        """The 8-bit integers that an expression widens."""
        source = self.source(value)
        if operator_name(source) != "relax.astype" or str(source.ty.dtype) not in _WIDER:
            return None
        return source.args[0] if str(source.args[0].ty.dtype) in _BYTES else None

    def move(self, call: relax.Call) -> relax.Expr | None:
        """Data are moved in 8 bits: before they are read as floats, and as unsigned integers where
        they are so."""
        data, *others = call.args
        if data in self._unsigned:
            moved = with_arguments(call, [self._unsigned[data], *others])
            unsigned = self.emit(self.builder.normalize(moved))
            signed = self.emit(_shifted(self.builder, unsigned, "int8"))
            self._unsigned[signed] = unsigned
            return signed
        source = self.source(data)
        if operator_name(source) != "relax.dequantize":
            return None
        integers, *parameters = source.args
        scale, point = map(constant_number, parameters)
        if scale is None or point is None or scale <= 0:  # a maximum would be another
            return None
        moved = self.emit(self.builder.normalize(with_arguments(call, [integers, *others])))
        read = with_arguments(source, [moved, *parameters])
        return self.dequantize(read) or read

    # What the target multiplies is unsigned: signed integers become so where they are made.

    def made(self, call: relax.Call) -> relax.Expr | None:
        """Quantized numbers, which are read as unsigned ones where that is possible."""
        values = self.builder.normalize(call)
        if str(values.ty.dtype) != "int8" or self._products.dtype != "uint8":
            return None
        signed = self.emit(values)
        self._as_unsigned(signed)
        return signed

    def dequantize(self, call: relax.Call) -> relax.Expr | None:
        data, scale, point = call.args
        number = constant_number(point)
        if data not in self._unsigned or number is None:
            return None
        moved = relax.const(int(number) + _OFFSET, "int32")
        return with_arguments(call, [self._unsigned[data], scale, moved])


MOVING = ("relax.reshape", "relax.permute_dims", "relax.strided_slice", "relax.nn.max_pool2d")
"""Operators that pass values on, which they do in 8 bits where that is what they are read in."""
_RULES: dict[str, Callable[[ComputeInIntegers, relax.Call], relax.Expr | None]] = {
    "relax.quantize": ComputeInIntegers.made,
    "relax.dequantize": ComputeInIntegers.dequantize,
    "relax.astype": ComputeInIntegers.made,
    **dict.fromkeys(MOVING, ComputeInIntegers.move),
}


def _shifted(builder: relax.BlockBuilder, values: relax.Expr, dtype: str) -> relax.Expr:
    """Signed numbers as unsigned ones that are 128 larger, or the other way: the highest bit is the
    other."""

    def of(data: te.Tensor) -> te.Tensor:
        bits = str(data.dtype)
        return te.compute(
            data.shape,
            lambda *at: tirx.reinterpret(
                dtype, tirx.bitwise_xor(data[at], tirx.const(-128 if bits == "int8" else 128, bits))
            ),
            name="shifted",
        )

    return builder.call_te(of, values, primfunc_name_hint="shifted")


def _fits(layer: Weighted, data: _Data, steps: np.ndarray) -> bool:
    """Whether all sums have 32 bits, those of a convolution in groups the 24 of a float; and
    padding a value that is known."""
    largest = np.abs(steps.astype(np.int64)).sum(axis=0).max(initial=0) * _LARGEST_DATA
    most = _LARGEST_WHOLE if layer.groups > 1 else _LARGEST_SUM
    padded = layer.operator != PRODUCT and any(window_of(layer).padding)
    return largest <= most and (isinstance(data.zero_point, int) or not padded)
