"""Fourier transforms, as products with matrices.

Sources: the specifications of DFT and STFT in ONNX's operator schemas; matrices are NumPy's
transforms of the unit vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter
from harness.models.onnx.refusal import Unsupported


def transform_matrix(
    inputs: int, parts: int, length: int, *, inverse: bool = False, onesided: bool = False
) -> np.ndarray:
    """The matrix of a transform of `inputs` numbers of one or two parts (real, imaginary), in
    double precision: [inputs · parts, outputs · parts]. The input is cut or filled with zeros to
    `length`; that of a one-sided inverse is half a spectrum, and its output real."""
    unit = np.eye(inputs * parts).reshape(-1, inputs, parts)
    values = unit[..., 0] + (1j * unit[..., 1] if parts == 2 else 0)
    if inverse and onesided:
        return np.fft.irfft(values, length)
    spectrum = (np.fft.ifft if inverse else np.fft.fft)(values, length)
    if onesided:
        spectrum = spectrum[:, : length // 2 + 1]
    return np.stack([spectrum.real, spectrum.imag], axis=-1).reshape(len(unit), -1)


def _dft(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The axis is an attribute before opset 20; the last dimension has the parts of a number."""
    x = inputs[0]
    shape = shape_of(x)
    axis = _number(inputs[2], "axis") if opset >= 20 else attributes.get("axis", 1)
    axis = -2 if axis is None else int(axis)
    axis %= len(shape)
    inverse, onesided = bool(attributes.get("inverse", 0)), bool(attributes.get("onesided", 0))
    length = _number(inputs[1], "dft_length")
    if length is None:
        length = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    matrix = transform_matrix(shape[axis], shape[-1], length, inverse=inverse, onesided=onesided)
    others = [at for at in range(len(shape) - 1) if at != axis]
    order = [*others, axis, len(shape) - 1]
    rows = builder.emit(relax.op.permute_dims(x, order))
    rows = builder.emit(
        relax.op.reshape(rows, [*(shape[at] for at in others), shape[axis] * shape[-1]])
    )
    parts = 1 if inverse and onesided else 2
    # Of an element n products are summed, where a fast transform sums log n.
    exact = builder.emit(relax.op.astype(rows, "float64"))
    found = _product(builder, exact, matrix, parts)
    found = builder.emit(relax.op.astype(found, str(x.ty.dtype)))
    back = [order.index(at) for at in range(len(shape))]
    return relax.op.permute_dims(found, back)


def _stft(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Transforms of frames of a signal: signal [batch, length, parts], result [batch, frames,
    bins, 2]."""
    signal, window = inputs[0], inputs[2]
    batch, length, *rest = shape_of(signal)
    parts = rest[0] if rest else 1
    step, size = _number(inputs[1], "frame_step"), _number(inputs[3], "frame_length")
    if size is None:
        if window is None:
            raise Unsupported("neither a window nor a frame_length")
        (size,) = shape_of(window)
    if step is None or step < 1 or size > length:
        raise Unsupported(f"frames of {size} with a step of {step} for {length} samples")
    onesided = bool(attributes.get("onesided", 1)) and parts == 1
    starts = np.arange(0, length - size + 1, step)
    places = (starts[:, None] + np.arange(size)).reshape(-1)
    frames = builder.emit(relax.op.take(signal, constant(places), axis=1))
    frames = builder.emit(relax.op.reshape(frames, [batch, len(starts), size, parts]))
    if window is not None:
        shaped = builder.emit(relax.op.reshape(window, [size, 1]))
        frames = builder.emit(relax.op.multiply(frames, shaped))
    rows = builder.emit(relax.op.reshape(frames, [batch, len(starts), size * parts]))
    return _product(builder, rows, transform_matrix(size, parts, size, onesided=onesided), 2)


def _product(builder: Builder, rows: relax.Expr, matrix: np.ndarray, parts: int) -> relax.Expr:
    """The last dimension times a matrix, its parts in a dimension of their own."""
    weights = constant(matrix.astype(str(rows.ty.dtype)))
    product = builder.emit(relax.op.matmul(rows, weights))
    shape = [*shape_of(rows)[:-1], matrix.shape[1] // parts, parts]
    return builder.emit(relax.op.reshape(product, shape))


def _number(value: relax.Expr | None, name: str) -> int | None:
    if value is None:
        return None
    found = constant_array(value)
    if found is None:
        raise Unsupported(f"its input '{name}' depends on the inputs' values")
    return int(found.reshape(-1)[0])


SPECTRAL: dict[str, Converter] = {"DFT": _dft, "STFT": _stft}
