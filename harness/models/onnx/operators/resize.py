"""ONNX's Resize and Upsample: every mode is, axis by axis, a weighted sum of taken elements.

Coordinates are computed here with the scales that the model gives, in single precision, as ONNX
Runtime does; TVM computes scales anew from sizes, which is another sampling wherever a size was
rounded. TVM's own operator is used for the modes that it has right.

Source: the specification of Resize in ONNX's operator schemas, and for antialiasing ONNX Runtime's
`SetupUpsampleFilterAntiAlias`, which follows Pillow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax, shape_of
from harness.models.onnx.operators.converter import text
from harness.models.onnx.refusal import Unsupported

_MOST_TAPS = 8
"""With more elements a sum than that, a product with a matrix is cheaper."""


@dataclass(frozen=True)
class Axis:
    """How one axis is resampled: from `length` to `size` elements, for `scale` times as many."""

    length: int
    size: int
    scale: np.float32
    crop: tuple[float, float] = (0.0, 1.0)

    def coordinates(self, transformation: str) -> np.ndarray:
        """Where in the input each element of the output is, shape [size], single precision."""
        one, half = np.float32(1), np.float32(0.5)
        at = np.arange(self.size, dtype=np.float32)
        if self.scale == one:
            return at  # as ONNX Runtime has it, in a region, too
        if transformation not in _TRANSFORMATIONS:
            raise Unsupported(f"coordinate_transformation_mode={transformation}")
        return np.asarray(_TRANSFORMATIONS[transformation](self, at, half), np.float32)


def _half_pixel(axis: Axis, at: np.ndarray, half: np.float32) -> np.ndarray:
    return np.asarray((at + half) / axis.scale - half)


def _symmetric(axis: Axis, at: np.ndarray, half: np.float32) -> np.ndarray:
    adjustment = np.float32(axis.size) / (axis.scale * np.float32(axis.length))
    offset = np.float32(axis.length) * half * (np.float32(1) - adjustment)
    # Nearest elements are often tied here, and ONNX Runtime decides ties in double precision.
    return offset + ((at.astype(np.float64) + 0.5) / axis.scale - 0.5)


def _crop(axis: Axis, at: np.ndarray, half: np.float32) -> np.ndarray:
    start, end = map(np.float32, axis.crop)
    last = np.float32(axis.length - 1)
    if axis.size == 1:
        return half * (start + end) * last + at
    return np.asarray(start * last + at * (end - start) * last / np.float32(axis.size - 1))


_TRANSFORMATIONS: dict[str, Callable[[Axis, np.ndarray, np.float32], np.ndarray]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda axis, at, half: (
        _half_pixel(axis, at, half) if axis.size > 1 else at * 0
    ),
    "align_corners": lambda axis, at, half: (
        at * np.float32(axis.length - 1) / np.float32(axis.size - 1) if axis.size > 1 else at * 0
    ),
    "asymmetric": lambda axis, at, half: at / axis.scale,
    "tf_crop_and_resize": _crop,
}
_ROUNDINGS: dict[str, Callable[[np.ndarray, Axis], np.ndarray]] = {
    "round_prefer_floor": lambda x, axis: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x, axis: np.floor(x + np.float32(0.5)),
    "floor": lambda x, axis: np.floor(x),
    "ceil": lambda x, axis: np.ceil(x),
    # Before opset 11 nothing was specified; this follows ONNX Runtime.
    "simple": lambda x, axis: np.ceil(x) if axis.scale < 1 else np.trunc(x),
}


@dataclass(frozen=True)
class Sampling:
    """The attributes that decide the sum for an element of the output."""

    mode: str
    transformation: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    outside: float = 0.0

    def taps(self, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Indices into the input and their weights, both of shape [size, taps]."""
        x = axis.coordinates(self.transformation)
        if self.mode == "nearest":
            nearest = _ROUNDINGS[self.rounding](x, axis)
            return _clamped(nearest, axis)[:, None], np.ones((axis.size, 1))
        if self.antialias and axis.scale < 1:
            return self._antialiased(x, axis)
        if self.mode == "linear":
            x = np.clip(x, 0, axis.length - 1)
        first = np.floor(x) - (1 if self.mode == "cubic" else 0)
        places = first[:, None] + np.arange(4 if self.mode == "cubic" else 2)
        return self._inside(places, self._kernel(places - x[:, None]), axis)

    def _antialiased(self, x: np.ndarray, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        shrinking = float(axis.scale)
        support = (2.0 if self.mode == "cubic" else 1.0) / shrinking
        center = x.astype(np.float64) + 0.5
        first = np.floor(center - support + 0.5)
        count = int(np.max(np.floor(center + support + 0.5) - first))
        places = first[:, None] + np.arange(count)
        return self._inside(
            places, self._kernel((places + 0.5 - center[:, None]) * shrinking), axis, normal=True
        )

    def _kernel(self, distance: np.ndarray) -> np.ndarray:
        away = np.abs(distance.astype(np.float64))
        if self.mode == "linear":
            return np.asarray(np.maximum(0, 1 - away))
        a = self.cubic_a
        near = ((a + 2) * away - (a + 3)) * away * away + 1
        far = (((away - 5) * away + 8) * away - 4) * a
        return np.where(away <= 1, near, np.where(away < 2, far, 0.0))

    def _inside(
        self, places: np.ndarray, weights: np.ndarray, axis: Axis, normal: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Elements outside count for the border, or not at all."""
        if self.exclude_outside:
            weights = np.where((places >= 0) & (places < axis.length), weights, 0.0)
            normal = True
        if normal:
            weights = weights / weights.sum(axis=1, keepdims=True)
        return _clamped(places, axis), weights

    def is_outside(self, axis: Axis) -> np.ndarray:
        """Which elements of the output have a value of their own."""
        if self.transformation != "tf_crop_and_resize":
            return np.zeros(axis.size, bool)
        x = axis.coordinates(self.transformation)
        return np.asarray((x < 0) | (x > axis.length - 1))


def resize(builder: relax.BlockBuilder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Resize, since opset 10. Raises Unsupported."""
    data = inputs[0]
    if opset < 11:
        sampling = Sampling(text(attributes, "mode", "nearest"), "asymmetric", "simple")
        return resampled(builder, data, _scaled(data, _values(inputs[1], "scales")), sampling)
    sampling = Sampling(
        mode=text(attributes, "mode", "nearest"),
        transformation=text(attributes, "coordinate_transformation_mode", "half_pixel"),
        rounding=text(attributes, "nearest_mode", "round_prefer_floor"),
        cubic_a=float(attributes.get("cubic_coeff_a", -0.75)),
        exclude_outside=bool(attributes.get("exclude_outside", 0)),
        antialias=bool(attributes.get("antialias", 0)),
        outside=float(attributes.get("extrapolation_value", 0.0)),
    )
    rank = len(shape_of(data))
    axes = [int(axis) % rank for axis in attributes.get("axes", range(rank))]
    policy = text(attributes, "keep_aspect_ratio_policy", "stretch")
    scales = _values(inputs[2], "scales") if inputs[2] is not None else np.zeros(0)
    if scales.size:
        found = _scaled(data, _spread(scales, axes, np.ones(rank)))
    else:
        found = _sized(data, _values(inputs[3], "sizes"), axes, policy)
    if inputs[1] is not None and sampling.transformation == "tf_crop_and_resize":
        roi = _values(inputs[1], "roi")
        starts = _spread(roi[: len(axes)], axes, np.zeros(rank))
        ends = _spread(roi[len(axes) :], axes, np.ones(rank))
        crops = zip(starts.tolist(), ends.tolist(), strict=True)
        found = [replace(axis, crop=crop) for axis, crop in zip(found, crops, strict=True)]
    return resampled(builder, data, found, sampling)


def upsample(builder: relax.BlockBuilder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Upsample, which became Resize with opset 10. Raises Unsupported."""
    if opset < 9:
        scales = np.asarray(attributes.get("scales", ()), np.float32)
    else:
        scales = _values(inputs[1], "scales")
    sampling = Sampling(text(attributes, "mode", "nearest"), "asymmetric", "simple")
    return resampled(builder, inputs[0], _scaled(inputs[0], scales), sampling)


def resampled(
    builder: relax.BlockBuilder, data: relax.Expr, axes: Sequence[Axis], sampling: Sampling
) -> relax.Expr:
    """A tensor with every axis resampled. Raises Unsupported."""
    if sampling.mode not in {"nearest", "linear", "cubic"}:
        raise Unsupported(f"mode={sampling.mode}")
    if sampling.mode != "nearest" and not str(data.ty.dtype).startswith("float"):
        raise Unsupported(f"mode={sampling.mode} of {data.ty.dtype}, expected floats")
    if all(axis.size == axis.length for axis in axes):
        return data  # as ONNX Runtime has it, whatever the scales and the region are
    by_tvm = _by_tvm(data, axes, sampling)
    if by_tvm is not None:
        return by_tvm
    result, outside = data, np.zeros((), bool)
    for at, axis in enumerate(axes):
        shape = [1] * len(axes)
        shape[at] = axis.size
        outside = outside | sampling.is_outside(axis).reshape(shape)
        indices, weights = sampling.taps(axis)
        if not _keeps(indices, weights, axis):
            result = _summed(builder, result, at, indices, weights, axis)
    if outside.any():
        value = relax.const(sampling.outside, str(data.ty.dtype))
        result = relax.op.where(constant(outside), value, result)
    return result


def _keeps(indices: np.ndarray, weights: np.ndarray, axis: Axis) -> bool:
    return (
        axis.size == axis.length
        and np.array_equal(weights[:, 0], np.ones(axis.size))
        and not weights[:, 1:].any()
        and np.array_equal(indices[:, 0], np.arange(axis.size))
    )


def _summed(
    builder: relax.BlockBuilder,
    data: relax.Expr,
    at: int,
    indices: np.ndarray,
    weights: np.ndarray,
    axis: Axis,
) -> relax.Expr:
    """A sum over taps along one axis."""
    rank, dtype = len(shape_of(data)), str(data.ty.dtype)
    if indices.shape[1] == 1:
        return builder.emit(relax.op.take(data, constant(indices[:, 0]), axis=at))
    if indices.shape[1] > _MOST_TAPS:
        matrix = np.zeros((axis.length, axis.size))
        np.add.at(matrix, (indices, np.arange(axis.size)[:, None]), weights)
        order = [*(each for each in range(rank) if each != at), at]
        last = builder.emit(relax.op.permute_dims(data, order))
        product = builder.emit(relax.op.matmul(last, constant(matrix.astype(dtype))))
        return builder.emit(relax.op.permute_dims(product, np.argsort(order).tolist()))
    shape = [axis.size if each == at else 1 for each in range(rank)]
    result = None
    for tap in range(indices.shape[1]):
        taken = builder.emit(relax.op.take(data, constant(indices[:, tap]), axis=at))
        weight = constant(weights[:, tap].astype(dtype).reshape(shape))
        term = builder.emit(relax.op.multiply(taken, weight))
        result = term if result is None else builder.emit(relax.op.add(result, term))
    return result


def _by_tvm(data: relax.Expr, axes: Sequence[Axis], sampling: Sampling) -> relax.Expr | None:
    """TVM's operator for images, where it samples the same places."""
    image = axes[2:]
    if len(axes) != 4 or any(axis.size != axis.length for axis in axes[:2]):
        return None
    if sampling.mode == "nearest":
        repeats = all(
            axis.size % axis.length == 0
            and np.array_equal(
                sampling.taps(axis)[0][:, 0], np.arange(axis.size) // (axis.size // axis.length)
            )
            for axis in image
        )
        method = ("nearest_neighbor", "asymmetric", "floor") if repeats else None
    else:
        exact = all(
            axis.size > 1 and axis.scale == np.float32(axis.size) / np.float32(axis.length)
            for axis in image
        )
        same = exact and sampling.mode == "linear" and not sampling.antialias
        known = sampling.transformation in {"half_pixel", "align_corners", "asymmetric"}
        method = ("linear", sampling.transformation, "") if same and known else None
    if method is None:
        return None
    size = [axis.size for axis in image]
    return relax.op.image.resize2d(
        data,
        size=relax.ShapeExpr(size),
        layout="NCHW",
        method=method[0],
        coordinate_transformation_mode=method[1],
        rounding_method=method[2],
    )


def _scaled(data: relax.Expr, scales: np.ndarray) -> list[Axis]:
    lengths = shape_of(data)
    if len(scales) != len(lengths):
        raise Unsupported(f"{len(scales)} scales for {len(lengths)} dimensions")
    return [
        Axis(length, int(np.floor(np.float32(scale) * np.float32(length))), np.float32(scale))
        for length, scale in zip(lengths, scales, strict=True)
    ]


def _sized(data: relax.Expr, sizes: np.ndarray, axes: list[int], policy: str) -> list[Axis]:
    lengths = np.asarray(shape_of(data))
    if len(sizes) != len(axes):
        raise Unsupported(f"{len(sizes)} sizes for {len(axes)} axes")
    scales = sizes.astype(np.float32) / lengths[axes].astype(np.float32)
    if policy != "stretch":
        scales[:] = scales.min() if policy == "not_larger" else scales.max()
        sizes = np.floor(scales * lengths[axes] + 0.5).astype(np.int64)
    every_size, every_scale = (
        _spread(sizes, axes, lengths),
        _spread(scales, axes, lengths * 0 + 1.0),
    )
    return [
        Axis(int(length), int(size), np.float32(scale))
        for length, size, scale in zip(lengths, every_size, every_scale, strict=True)
    ]


def _spread(values: np.ndarray, axes: list[int], others: np.ndarray) -> np.ndarray:
    """Values of some axes, among the others' values."""
    if len(values) != len(axes):
        raise Unsupported(f"{len(values)} values for {len(axes)} axes")
    result = np.array(others)
    result[axes] = values
    return result


def _clamped(places: np.ndarray, axis: Axis) -> np.ndarray:
    return np.asarray(np.clip(places, 0, axis.length - 1), np.int64)


def _values(expr: relax.Expr | None, name: str) -> np.ndarray:
    if isinstance(expr, relax.ShapeExpr):
        return np.asarray([int(value) for value in expr.values])
    found = constant_array(expr) if expr is not None else None
    if found is None:
        raise Unsupported(f"its input '{name}' depends on the inputs' values")
    return found


RESIZE = {"Resize": resize, "Upsample": upsample}
