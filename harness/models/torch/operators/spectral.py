"""Complex numbers inside a program, as pairs of real ones, and the Fourier transforms of them.

TVM has no complex numbers. A complex value of a program is a `Complex` here; what moves elements,
or is linear and real, is done to both of its parts by the operator's own converter.

Source: PyTorch's native_functions.yaml and SpectralOps.cpp for the transforms' arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from harness.compiler.api import constant, relax, shape_of
from harness.models.torch.operators.arithmetic import hypotenuse
from harness.models.torch.operators.converter import Builder, Call
from harness.models.torch.refusal import Unsupported


@dataclass(frozen=True)
class Complex:
    """A complex value: two tensors, or two tuples of them."""

    real: relax.Expr
    imaginary: relax.Expr

    def each(self, change: Callable[[relax.Expr], relax.Expr]) -> Complex:
        """Both parts, changed."""
        return Complex(change(self.real), change(self.imaginary))


Parts: TypeAlias = Any
"""A complex value, or a real tensor."""


def is_complex(node: Any) -> bool:
    """Whether a node of a program gives complex numbers."""
    found = node.meta.get("val")
    each = found if isinstance(found, (list, tuple)) else [found]
    return any(getattr(one, "is_complex", bool)() for one in each)


def converted(node: Any, importer: Any, convert: Callable[[], Any]) -> Any:
    """A node with complex numbers; `convert` is the converter for tensors that are real."""
    own = COMPLEX.get(node.target.__name__)
    if own is not None:
        return own(Call.of(node, importer))
    if node.target.__name__ not in _BY_PARTS:
        raise Unsupported("it takes complex numbers")
    known = importer.env
    given = {each: known[each] for each in node.all_input_nodes if is_complex(each)}
    found = []
    try:
        for part in ("real", "imaginary"):
            known.update({each: getattr(value, part) for each, value in given.items()})
            found.append(convert())
    finally:
        known.update(given)
    return Complex(*found)


def _matrix(length: int, *, forward: bool) -> np.ndarray:
    """The transform of so many numbers, `[inputs, outputs]`."""
    unit = np.eye(length)
    return np.fft.fft(unit) if forward else np.fft.ifft(unit) * length


def _product(builder: Builder, value: relax.Expr, matrix: np.ndarray, axis: int) -> relax.Expr:
    """A product over one axis. Of an element n products are summed, where a fast transform sums
    log n: in double precision."""
    rank = len(shape_of(value))
    order = [*(at for at in range(rank) if at != axis), axis]
    value = builder.emit(relax.op.permute_dims(value, order))
    value = builder.emit(relax.op.matmul(value, constant(matrix)))
    return builder.emit(relax.op.permute_dims(value, [order.index(at) for at in range(rank)]))


def _along(builder: Builder, value: Complex, matrix: np.ndarray, axis: int) -> Complex:
    """A product of complex numbers with a complex matrix over one axis."""
    real, imaginary = np.ascontiguousarray(matrix.real), np.ascontiguousarray(matrix.imag)

    def product(part: relax.Expr, by: np.ndarray) -> relax.Expr:
        return _product(builder, part, by, axis)

    return Complex(
        builder.emit(
            relax.op.subtract(product(value.real, real), product(value.imaginary, imaginary))
        ),
        builder.emit(relax.op.add(product(value.real, imaginary), product(value.imaginary, real))),
    )


def _scaled(call: Call, value: Parts, count: int) -> Parts:
    """By the transform's normalization: none, by the root of its numbers' count, by their count."""
    by = (1.0, 1 / math.sqrt(count), 1 / count)[call["normalization"]]
    factor = relax.const(by, "float64")

    def changed(part: relax.Expr) -> relax.Expr:
        scaled = part if by == 1 else call.emit(relax.op.multiply(part, factor))
        return call.cast(scaled, call.dtype)

    return value.each(changed) if isinstance(value, Complex) else changed(value)


def _dims(call: Call, shape: tuple[int, ...]) -> list[int]:
    return [axis % len(shape) for axis in call["dim"]]


def _real_to_complex(call: Call) -> Parts:
    """`_fft_r2c`: of the last of its axes half is returned where it is one-sided."""
    shape = shape_of(call["self"])
    dims = _dims(call, shape)
    *others, last = dims
    matrix = _matrix(shape[last], forward=True)
    if call["onesided"]:
        matrix = matrix[:, : shape[last] // 2 + 1]
    exact = call.cast(call["self"], "float64")
    value = Complex(
        _product(call.builder, exact, np.ascontiguousarray(matrix.real), last),
        _product(call.builder, exact, np.ascontiguousarray(matrix.imag), last),
    )
    for axis in others:
        value = _along(call.builder, value, _matrix(shape[axis], forward=True), axis)
    return _scaled(call, value, math.prod(shape[axis] for axis in dims))


def _complex_to_complex(call: Call) -> Parts:
    value = call["self"].each(lambda part: call.cast(part, "float64"))
    shape = shape_of(value.real)
    dims = _dims(call, shape)
    for axis in dims:
        value = _along(call.builder, value, _matrix(shape[axis], forward=call["forward"]), axis)
    return _scaled(call, value, math.prod(shape[axis] for axis in dims))


def _complex_to_real(call: Call) -> Parts:
    """`_fft_c2r`: the inverse, of which the last axis has half a spectrum."""
    value = call["self"].each(lambda part: call.cast(part, "float64"))
    shape = shape_of(value.real)
    *others, last = _dims(call, shape)
    length = int(call["last_dim_size"])
    for axis in others:
        value = _along(call.builder, value, _matrix(shape[axis], forward=False), axis)
    unit = np.eye(shape[last])
    parts = [
        _product(call.builder, part, np.fft.irfft(by * unit, length) * length, last)
        for part, by in ((value.real, 1), (value.imaginary, 1j))
    ]
    total = call.emit(relax.op.add(*parts))
    return _scaled(call, total, length * math.prod(shape[axis] for axis in others))


def _as_real(call: Call) -> Parts:
    """The parts, along a last axis."""
    value = call["self"]
    return call.emit(relax.op.stack([value.real, value.imaginary], axis=-1))


def _as_complex(call: Call) -> Parts:
    value = call["self"]
    return Complex(
        *(call.emit(relax.op.take(value, relax.const(at, "int64"), axis=-1)) for at in (0, 1))
    )


def _made(call: Call) -> Parts:
    return Complex(call["real"], call["imag"])


def _polar(call: Call) -> Parts:
    size, angle = call["abs"], call["angle"]
    return Complex(
        call.emit(relax.op.multiply(size, call.emit(relax.op.cos(angle)))),
        call.emit(relax.op.multiply(size, call.emit(relax.op.sin(angle)))),
    )


def _both(value: Any, call: Call) -> Complex:
    """A real operand as a complex one."""
    if isinstance(value, Complex):
        return value
    if isinstance(value, complex):
        return Complex(relax.const(value.real, call.dtype), relax.const(value.imag, call.dtype))
    real = value if isinstance(value, relax.Expr) else relax.const(value, call.dtype)
    return Complex(real, relax.const(0.0, call.dtype))


def _summed(operator: Any) -> Callable[[Call], Parts]:
    def convert(call: Call) -> Parts:
        if call.arguments.get("alpha", 1) != 1:
            raise Unsupported("a factor of complex numbers")
        one, other = (_both(call[name], call) for name in ("self", "other"))
        shape = list(call.shape)
        return Complex(
            call.emit(operator(one.real, other.real)),
            call.emit(operator(one.imaginary, other.imaginary)),
        ).each(lambda part: call.emit(relax.op.broadcast_to(part, shape)))

    return convert


def _multiplied(call: Call) -> Parts:
    one, other = call["self"], call["other"]
    if not isinstance(one, Complex):
        one, other = other, one
    if not isinstance(other, (Complex, complex)):
        factor = other if isinstance(other, relax.Expr) else relax.const(other, call.dtype)
        return one.each(lambda part: call.emit(relax.op.multiply(part, factor)))
    other = _both(other, call)

    def product(left: relax.Expr, right: relax.Expr) -> relax.Expr:
        return call.emit(relax.op.multiply(left, right))

    return Complex(
        call.emit(
            relax.op.subtract(
                product(one.real, other.real), product(one.imaginary, other.imaginary)
            )
        ),
        call.emit(
            relax.op.add(product(one.real, other.imaginary), product(one.imaginary, other.real))
        ),
    )


def _divided(call: Call) -> Parts:
    one, other = call["self"], call["other"]
    if isinstance(other, (Complex, complex)):
        return _quotient(call, _both(one, call), _both(other, call))
    divisor = other if isinstance(other, relax.Expr) else relax.const(other, call.dtype)
    return one.each(lambda part: call.emit(relax.op.divide(part, divisor)))


def _quotient(call: Call, one: Complex, other: Complex) -> Complex:
    """The divisor's parts are divided by the larger one first, so that no square overflows."""
    emit, op = call.emit, relax.op
    largest = emit(op.maximum(*(emit(op.abs(part)) for part in (other.real, other.imaginary))))
    real, imaginary = (emit(op.divide(part, largest)) for part in (other.real, other.imaginary))

    def summed(combine: Any, *factors: relax.Expr) -> relax.Expr:
        first, second, third, fourth = factors
        return emit(combine(emit(op.multiply(first, second)), emit(op.multiply(third, fourth))))

    divisor = summed(op.add, other.real, real, other.imaginary, imaginary)
    return Complex(
        emit(op.divide(summed(op.add, one.real, real, one.imaginary, imaginary), divisor)),
        emit(op.divide(summed(op.subtract, one.imaginary, real, one.real, imaginary), divisor)),
    )


def _reciprocal(call: Call) -> Parts:
    return _quotient(call, _both(1.0, call), call["self"])


def _exponential(call: Call) -> Parts:
    value = call["self"]
    size = call.emit(relax.op.exp(value.real))
    return Complex(
        call.emit(relax.op.multiply(size, call.emit(relax.op.cos(value.imaginary)))),
        call.emit(relax.op.multiply(size, call.emit(relax.op.sin(value.imaginary)))),
    )


def _filled(name: str) -> Callable[[Call], Parts]:
    """A result of an argument's numbers, which are repeated as often as it takes."""

    def convert(call: Call) -> Parts:
        shape = list(call.shape)
        numbers = _both(call[name], call)
        return numbers.each(lambda part: call.emit(relax.op.broadcast_to(part, shape)))

    return convert


def _selected(call: Call) -> Parts:
    one, other = (_both(call[name], call) for name in ("self", "other"))
    return Complex(
        call.emit(relax.op.where(call["condition"], one.real, other.real)),
        call.emit(relax.op.where(call["condition"], one.imaginary, other.imaginary)),
    )


def _matrix_product(call: Call) -> Parts:
    one, other = (_both(call[name], call) for name in ("self", "mat2"))

    def product(left: relax.Expr, right: relax.Expr) -> relax.Expr:
        return call.emit(relax.op.matmul(left, right))

    difference = relax.op.subtract(
        product(one.real, other.real), product(one.imaginary, other.imaginary)
    )
    total = relax.op.add(product(one.real, other.imaginary), product(one.imaginary, other.real))
    return Complex(call.emit(difference), call.emit(total))


def _size(call: Call) -> Parts:
    return call.emit(hypotenuse(call["self"].real, call["self"].imaginary))


def _angle(call: Call) -> Parts:
    return call.emit(relax.op.atan2(call["self"].imaginary, call["self"].real))


def _conjugate(call: Call) -> Parts:
    value = call["self"]
    return Complex(value.real, call.emit(relax.op.negative(value.imaginary)))


def _negative(call: Call) -> Parts:
    return call["self"].each(lambda part: call.emit(relax.op.negative(part)))


def _converted(call: Call) -> Parts:
    """To another precision, or of real numbers."""
    value = call["self"]
    if isinstance(value, Complex):
        if not call.result.is_complex():
            return call.cast(value.real, call.dtype)
        return value.each(lambda part: call.cast(part, call.dtype))
    real = call.cast(value, call.dtype)
    return Complex(real, call.emit(relax.op.zeros_like(real)))


COMPLEX: dict[str, Callable[[Call], Parts]] = {
    "_fft_r2c.default": _real_to_complex,
    "_fft_c2c.default": _complex_to_complex,
    "_fft_c2r.default": _complex_to_real,
    "view_as_real.default": _as_real,
    "view_as_complex.default": _as_complex,
    "complex.default": _made,
    "polar.default": _polar,
    "add.Tensor": _summed(relax.op.add),
    "sub.Tensor": _summed(relax.op.subtract),
    "mul.Tensor": _multiplied,
    "mul.Scalar": _multiplied,
    "div.Tensor": _divided,
    "div.Scalar": _divided,
    "reciprocal.default": _reciprocal,
    "exp.default": _exponential,
    "copy.default": _filled("src"),
    "scalar_tensor.default": lambda call: _both(call["s"], call),
    "full.default": _filled("fill_value"),
    "full_like.default": _filled("fill_value"),
    "where.self": _selected,
    "mm.default": _matrix_product,
    "bmm.default": _matrix_product,
    "abs.default": _size,
    "angle.default": _angle,
    "_conj.default": _conjugate,
    "_conj_physical.default": _conjugate,
    "neg.default": _negative,
    "_to_copy.default": _converted,
}
"""Converters of operators that take or give complex numbers."""
_BY_PARTS = frozenset(
    {
        "alias.default", "clone.default", "detach.default", "permute.default", "transpose.int",
        "t.default", "view.default", "reshape.default", "_unsafe_view.default", "squeeze.dim",
        "squeeze.dims", "squeeze.default", "unsqueeze.default", "slice.Tensor", "select.int",
        "expand.default", "cat.default", "stack.default", "constant_pad_nd.default",
        "unfold.default", "as_strided.default", "repeat.default", "split.Tensor",
        "split_with_sizes.default", "getitem", "flip.default", "roll.default",
        "index_select.default", "sum.dim_IntList", "sum.default", "mean.dim", "mean.default",
        "_reshape_alias.default", "index.Tensor", "gather.default", "diagonal.default",
        "cumsum.default", "tril.default", "triu.default", "alias_copy.default",
    }
)  # fmt: skip
"""Operators that do the same to the real and to the imaginary part."""
