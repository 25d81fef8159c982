"""Images resized: every mode is, axis by axis, a weighted sum of taken elements."""

from __future__ import annotations

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.resize import Axis, Sampling, resampled
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


def _axes(call: Call) -> list[Axis]:
    """The axes, with the scales that PyTorch uses: the given ones, or those of the sizes."""
    lengths, sizes = shape_of(call.tensor(_data(call))), call.shape
    spatial = len(sizes) - 2
    given = call.arguments.get("scale_factors")
    scales = [None, None, *(given or [None] * spatial)]
    return [
        Axis(length, size, np.float32(size / length if scale is None else scale))
        for length, size, scale in zip(lengths, sizes, scales, strict=True)
    ]


def _data(call: Call) -> str:
    return "input" if "input" in call.arguments else "self"


def _resize(mode: str, antialias: bool = False) -> Converter:
    def convert(call: Call) -> relax.Expr:
        corners = bool(call.arguments.get("align_corners"))
        sampling = Sampling(
            mode,
            transformation="align_corners" if corners else "half_pixel",
            # Antialiased, PyTorch follows Pillow.
            exclude_outside=antialias,
            antialias=antialias,
            cubic_a=-0.5 if antialias else -0.75,
        )
        return resampled(call.builder, call.tensor(_data(call)), _axes(call), sampling)

    return convert


def _nearest(exact: bool) -> Converter:
    """The element at ⌊place · input / output⌋, of the middle of the new element if `exact`."""

    def convert(call: Call) -> relax.Expr:
        result = call.tensor(_data(call))
        for at, axis in enumerate(_axes(call)):
            if axis.size == axis.length and axis.scale == 1:
                continue
            places = np.arange(axis.size, dtype=np.float32) + np.float32(0.5 if exact else 0)
            step = np.float32(1) / axis.scale
            if axis.scale == np.float32(axis.size / axis.length):
                step = np.float32(axis.length) / np.float32(axis.size)
            taken = np.minimum(np.floor(places * step).astype(np.int64), axis.length - 1)
            if len(call.shape) == 4 and _repeats(taken, axis):
                continue
            result = call.emit(op.take(result, relax.const(taken, "int64"), axis=at))
        return _enlarged(call, result)

    return convert


def _repeats(taken: np.ndarray, axis: Axis) -> bool:
    """Whether each element is repeated equally often."""
    return axis.size % axis.length == 0 and np.array_equal(
        taken, np.arange(axis.size) // (axis.size // axis.length)
    )


def _enlarged(call: Call, x: relax.Expr) -> relax.Expr:
    """What is left of an image, by TVM's operator."""
    if shape_of(x) == call.shape:
        return x
    found = op.image.resize2d(
        x,
        size=relax.ShapeExpr(list(call.shape[2:])),
        layout="NCHW",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )
    return call.emit(found)


RESIZE: dict[str, Converter] = {
    **{f"upsample_nearest{rank}d.vec": _nearest(exact=False) for rank in (1, 2, 3)},
    **{f"_upsample_nearest_exact{rank}d.vec": _nearest(exact=True) for rank in (1, 2, 3)},
    **{
        f"upsample_{name}.vec": _resize("linear")
        for name in ("linear1d", "bilinear2d", "trilinear3d")
    },
    "upsample_bicubic2d.vec": _resize("cubic"),
    **{
        f"_upsample_bilinear2d_aa.{form}": _resize("linear", antialias=True)
        for form in ("vec", "default")
    },
    **{
        f"_upsample_bicubic2d_aa.{form}": _resize("cubic", antialias=True)
        for form in ("vec", "default")
    },
}
