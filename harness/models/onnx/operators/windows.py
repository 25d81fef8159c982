"""Operators whose results come from windows or places of an image, as TIR kernels.

Source: their specifications in ONNX's operator schemas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax, shape_of, te, tirx
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, text
from harness.models.onnx.refusal import Unsupported


def _constant(value: relax.Expr | None, name: str) -> list[int]:
    found = None if value is None else constant_array(value)
    if found is None:
        raise Unsupported(f"its input '{name}' depends on the inputs' values")
    return [int(each) for each in found.reshape(-1)]


def _columns_to_image(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Col2Im: each pixel is the sum of the columns' elements that a window had it for. Columns are
    [batch, channels · taps, windows]."""
    columns = inputs[0]
    image, taps = _constant(inputs[1], "image_shape"), _constant(inputs[2], "block_shape")
    rank = len(image)
    strides = list(attributes.get("strides", [1] * rank))
    dilations = list(attributes.get("dilations", [1] * rank))
    pads = list(attributes.get("pads", [0] * 2 * rank))
    batch, rows, _ = shape_of(columns)
    counts = [
        (extent + pads[at] + pads[at + rank] - dilations[at] * (taps[at] - 1) - 1) // strides[at]
        + 1
        for at, extent in enumerate(image)
    ]
    shape = [batch, rows // int(np.prod(taps)), *taps, *counts]
    split = builder.emit(relax.op.reshape(columns, shape))

    def summed(data: te.Tensor) -> te.Tensor:
        along = [te.reduce_axis((0, extent), "tap") for extent in taps]

        def of(n: Any, c: Any, *pixel: Any) -> Any:
            inside, windows = [], []
            for at, place in enumerate(pixel):
                begin = place + pads[at] - along[at] * dilations[at]
                window = tirx.floordiv(begin, strides[at])
                inside += [
                    tirx.floormod(begin, strides[at]) == 0, window >= 0, window < counts[at]
                ]  # fmt: skip
                windows.append(tirx.max(tirx.min(window, counts[at] - 1), 0))
            value = data[(n, c, *along, *windows)]
            return te.sum(
                tirx.if_then_else(tirx.all(*inside), value, tirx.const(0, data.dtype)), axis=along
            )

        return te.compute((batch, shape[1], *image), of, name="col2im")

    return builder.emit_te(summed, split, primfunc_name_hint="col2im")


@dataclass(frozen=True)
class _Windows:
    """Where the windows of a pool lie, by dimensions of the image: the elements of each, and how
    many there are. The padding is as wide as the last window needs it. Automatic padding of windows
    that are smaller than their strides leaves out the first elements, `begins` of them: ONNX
    Runtime has such windows in LpPool, its other pools refuse them."""

    taps: list[int]
    strides: list[int]
    dilations: list[int]
    counts: list[int]
    pads: list[tuple[int, int]]
    begins: list[int]

    @classmethod
    def of(cls, image: Sequence[int], attributes: Any) -> _Windows:
        """The windows that a pool's attributes describe."""
        rank = len(image)
        taps = [int(each) for each in attributes["kernel_shape"]]
        strides = list(attributes.get("strides", [1] * rank))
        dilations = list(attributes.get("dilations", [1] * rank))
        given = list(attributes.get("pads", [0] * 2 * rank))
        automatic = text(attributes, "auto_pad", "NOTSET")
        rounded = np.ceil if attributes.get("ceil_mode", 0) else np.floor
        counts, pads, begins = [], [], []
        for at, extent in enumerate(image):
            stride, spread = strides[at], dilations[at] * (taps[at] - 1) + 1
            before, after = given[at], given[at + rank]
            if automatic.startswith("SAME"):
                missing = (-(-extent // stride) - 1) * stride + spread - extent
                before = int((missing + (automatic == "SAME_LOWER")) / 2)  # towards 0
                after = missing - before
            count = int(rounded((extent + before + after - spread) / stride)) + 1
            # A window begins in the image or the padding before it.
            count -= (count - 1) * stride >= extent + before
            counts.append(count)
            behind = max(after, (count - 1) * stride + spread - extent - before)
            pads.append((max(before, 0), max(behind, 0)))
            begins.append(max(-before, 0))
        return cls(taps, strides, dilations, counts, pads, begins)

    def cut(self, builder: Builder, x: relax.Expr) -> relax.Expr:
        """[batch, channels, *image] without the elements before the first window."""
        if not any(self.begins):
            return x
        extents = shape_of(x)[2:]
        axes = list(range(2, 2 + len(extents)))
        return builder.emit(relax.op.strided_slice(x, axes, self.begins, list(extents)))

    @property
    def around(self) -> list[tuple[int, int]]:
        """The padding of [batch, channels, *image]."""
        return [(0, 0), (0, 0), *self.pads]

    @property
    def width(self) -> list[int]:
        """The same, as Relax's `pad` takes it."""
        return [each for pair in self.around for each in pair]


_AVERAGES = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}
"""By the number of dimensions of the image."""


def _power_pool(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """LpPool: the p-norm of each window. What is outside of the image is 0."""
    x = inputs[0]
    dtype, image = str(x.ty.dtype), shape_of(x)[2:]
    windows, power = _Windows.of(image, attributes), float(attributes.get("p", 2))
    if len(image) not in _AVERAGES:
        raise Unsupported(f"windows of {len(image)} dimensions, expected 1 to 3")
    x = windows.cut(builder, x)
    powers = relax.op.power(builder.emit(relax.op.abs(x)), relax.const(power, dtype))
    padded = builder.emit(relax.op.nn.pad(builder.emit(powers), windows.width))
    mean = builder.emit(
        _AVERAGES[len(image)](
            padded, windows.taps, windows.strides, 0, windows.dilations, count_include_pad=True
        )
    )
    axes = list(range(2, 2 + len(image)))
    kept = builder.emit(relax.op.strided_slice(mean, axes, [0] * len(image), windows.counts))
    total = builder.emit(relax.op.multiply(kept, relax.const(math.prod(windows.taps), dtype)))
    return relax.op.power(total, relax.const(1 / power, dtype))


def _pooled(name: str) -> Converter:
    """A pool by TVM's converter, which takes automatic padding for another than ONNX's."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        if text(attributes, "auto_pad", "NOTSET").startswith("SAME"):
            pads = _Windows.of(shape_of(inputs[0])[2:], attributes).pads
            attributes["pads"] = [before for before, _ in pads] + [after for _, after in pads]
            attributes["auto_pad"] = b"NOTSET"
        return by_tvm(builder, inputs, attributes, opset, name)

    return convert


def _max_pool(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """MaxPool; its second output is the place of each maximum in the whole input, the first of
    equal ones."""
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return _pooled("MaxPool")(builder, inputs, attributes, opset)
    x = inputs[0]
    shape, dtype = shape_of(x), str(x.ty.dtype)
    image = shape[2:]
    windows = _Windows.of(image, attributes)
    taps, strides, dilations = windows.taps, windows.strides, windows.dilations
    counts, around, rank = windows.counts, windows.around, len(image)
    lowest = -np.inf if dtype.startswith("float") else np.iinfo(dtype).min
    padded = builder.emit(relax.op.nn.pad(x, windows.width, pad_value=lowest))
    numbers = np.arange(int(np.prod(image)))
    by_columns = bool(attributes.get("storage_order", 0))
    within = numbers.reshape(image[::-1]).T if by_columns else numbers.reshape(image)
    planes = np.arange(shape[0] * shape[1]).reshape(shape[:2]) * int(np.prod(image))
    places = np.pad(planes[(..., *[None] * rank)] + within, around)
    axes = list(range(2, 2 + rank))
    best: tuple[relax.Expr, relax.Expr] | None = None
    for tap in np.ndindex(*taps):
        begins = [step * dilation for step, dilation in zip(tap, dilations, strict=True)]
        ends = [
            begin + (count - 1) * stride + 1
            for begin, count, stride in zip(begins, counts, strides, strict=True)
        ]
        value = builder.emit(relax.op.strided_slice(padded, axes, begins, ends, strides))
        cut = (slice(None), slice(None), *map(slice, begins, ends, strides))
        place = constant(np.ascontiguousarray(places[cut], np.int64))
        if best is None:
            best = value, place
            continue
        above = builder.emit(relax.op.greater(value, best[0]))
        best = (
            builder.emit(relax.op.where(above, value, best[0])),
            builder.emit(relax.op.where(above, place, best[1])),
        )
    return relax.Tuple(list(best or ()))


def _deformed_convolution(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """DeformConv: the input is sampled between pixels where the offsets say, and multiplied with
    the weights as in a convolution. Outside of the image is 0."""
    x, weights, offsets, bias, mask = (inputs[at] for at in range(5))
    batch, channels, height, width = shape_of(x)
    outputs, group_channels, down, across = shape_of(weights)
    strides = list(attributes.get("strides", (1, 1)))
    dilations = list(attributes.get("dilations", (1, 1)))
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    groups = int(attributes.get("group", 1))
    offset_groups = int(attributes.get("offset_group", 1))
    attributes.get("kernel_shape")  # the weights have it
    rows, columns = shape_of(offsets)[2:]
    dtype = str(x.ty.dtype)

    def sampled(data: te.Tensor, moved: te.Tensor, *masks: te.Tensor) -> te.Tensor:
        def pixel(n: Any, c: Any, row: Any, column: Any) -> Any:
            inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
            at = tirx.max(tirx.min(row, height - 1), 0), tirx.max(tirx.min(column, width - 1), 0)
            return tirx.if_then_else(inside, data[(n, c, *at)], tirx.const(0, dtype))

        def of(n: Any, c: Any, i: Any, j: Any, p: Any, q: Any) -> Any:
            group = c // (channels // offset_groups)
            tap = (group * down + i) * across + j
            at = []
            for way, (place, step) in enumerate(((p, i), (q, j))):
                start = place * strides[way] - pads[way] + step * dilations[way]
                at.append(start.astype(dtype) + moved[n, tap * 2 + way, p, q])
            low = [tirx.floor(each) for each in at]
            share = [each - floor for each, floor in zip(at, low, strict=True)]
            # Far outside, all four neighbours are 0: the places stay within the integers.
            row, column = (
                tirx.max(
                    tirx.min(each, tirx.const(2**24, dtype)), tirx.const(-(2**24), dtype)
                ).astype("int32")
                for each in low
            )
            one = tirx.const(1, dtype)
            value = (
                (one - share[0]) * (one - share[1]) * pixel(n, c, row, column)
                + (one - share[0]) * share[1] * pixel(n, c, row, column + 1)
                + share[0] * (one - share[1]) * pixel(n, c, row + 1, column)
                + share[0] * share[1] * pixel(n, c, row + 1, column + 1)
            )
            return value * masks[0][n, tap, p, q] if masks else value

        shape = (batch, channels, down, across, rows, columns)
        return te.compute(shape, of, name="sampled")

    given = [x, offsets, *([mask] if mask is not None else [])]
    taken = builder.emit_te(sampled, *given, primfunc_name_hint="deform")
    inner = group_channels * down * across
    taken = builder.emit(relax.op.reshape(taken, [batch, groups, inner, rows * columns]))
    matrix = builder.emit(relax.op.reshape(weights, [1, groups, outputs // groups, inner]))
    product = builder.emit(relax.op.matmul(matrix, taken))
    result = builder.emit(relax.op.reshape(product, [batch, outputs, rows, columns]))
    if bias is None:
        return result
    return relax.op.add(result, builder.emit(relax.op.reshape(bias, [1, outputs, 1, 1])))


def _affine_grid(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """AffineGrid: the places of an image's pixels, from -1 to 1, under a map for each image."""
    theta, size = inputs[0], _constant(inputs[1], "size")
    aligned = bool(attributes.get("align_corners", 0))
    axes = [_places(extent, aligned) for extent in size[2:]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)
    points = np.concatenate([grid, np.ones((*grid.shape[:-1], 1))], axis=-1)
    rows = constant(points.reshape(-1, points.shape[-1]).astype(str(theta.ty.dtype)))
    columns = builder.emit(relax.op.permute_dims(theta, [0, 2, 1]))
    found = builder.emit(relax.op.matmul(rows, columns))
    return relax.op.reshape(found, [size[0], *size[2:], len(axes)])


def _places(extent: int, aligned: bool) -> np.ndarray:
    if aligned:
        return np.linspace(-1, 1, extent) if extent > 1 else np.zeros(1)
    return (2 * np.arange(extent) + 1) / extent - 1


def _scattered_tensor(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """TensorScatter: an update written over a cache from a place of each row on, round its end in
    the mode `circular`."""
    cache, update, begins = inputs[0], inputs[1], inputs[2]
    shape = shape_of(cache)
    axis = int(attributes.get("axis", -2)) % len(shape)
    mode = attributes.get("mode", b"linear")
    circular = (mode.decode() if isinstance(mode, bytes) else mode) == "circular"
    length = shape_of(update)[axis]
    if begins is None:
        begins = constant(np.zeros(shape[0], np.int64))

    def scattered(old: te.Tensor, new: te.Tensor, first: te.Tensor) -> te.Tensor:
        def of(*at: Any) -> Any:
            place = at[axis] - first[at[0]].astype("int32")
            if circular:
                place = tirx.floormod(place, shape[axis])
            inside = tirx.all(place >= 0, place < length)
            place = tirx.max(tirx.min(place, length - 1), 0)
            return tirx.if_then_else(inside, new[(*at[:axis], place, *at[axis + 1 :])], old[at])

        return te.compute(shape, of, name="tensor_scatter")

    return builder.emit_te(scattered, cache, update, begins, primfunc_name_hint="tensor_scatter")


def _reversed_sequences(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """ReverseSequence: the first elements of each sequence, as many as it has, in reverse."""
    x, lengths = inputs[0], inputs[1]
    shape = shape_of(x)
    batch, time = int(attributes.get("batch_axis", 1)), int(attributes.get("time_axis", 0))

    def turned(data: te.Tensor, counts: te.Tensor) -> te.Tensor:
        def of(*at: Any) -> Any:
            count = tirx.max(tirx.min(counts[at[batch]], shape[time]), 0).astype("int32")
            place = tirx.Select(at[time] < count, count - 1 - at[time], at[time])
            place = tirx.max(tirx.min(place, shape[time] - 1), 0)
            return data[(*at[:time], place, *at[time + 1 :])]

        return te.compute(shape, of, name="reverse_sequence")

    return builder.emit_te(turned, x, lengths, primfunc_name_hint="reverse_sequence")


WINDOWS: dict[str, Converter] = {
    "AffineGrid": _affine_grid,
    "AveragePool": _pooled("AveragePool"),
    "Col2Im": _columns_to_image,
    "DeformConv": _deformed_convolution,
    "LpPool": _power_pool,
    "MaxPool": _max_pool,
    "ReverseSequence": _reversed_sequences,
    "TensorScatter": _scattered_tensor,
}
