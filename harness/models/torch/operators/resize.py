"""Images resized: every mode is, axis by axis, a weighted sum of taken elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.resize import Axis, Sampling, resampled
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


@dataclass(frozen=True)
class _Axis(Axis):
    """An axis whose elements are `step` apart in the input, which PyTorch computes with."""

    step: Any = 1.0
    """A number of NumPy, in the precision that places are computed in."""

    def coordinates(self, transformation: str) -> np.ndarray:
        """Where each element of the output is, in the precision of the step."""
        kind = type(self.step)
        at = np.arange(self.size, dtype=kind)
        if transformation != "align_corners":
            return np.asarray((at + kind(0.5)) * self.step - kind(0.5))
        return np.asarray(at * (kind(self.length - 1) / kind(max(self.size - 1, 1))))


def _axes(call: Call) -> list[_Axis]:
    """The axes, with the scales that PyTorch uses: the given ones, or those of the sizes."""
    data = call.tensor(_data(call))
    lengths, sizes = shape_of(data), call.shape
    kind = np.float64 if str(data.ty.dtype) == "float64" else np.float32
    given = call.arguments.get("scale_factors") or [None] * (len(sizes) - 2)
    found = []
    for length, size, scale in zip(lengths, sizes, [None, None, *given], strict=True):
        step = kind(length) / kind(size) if scale is None else kind(1 / scale)
        found.append(
            _Axis(length, size, np.float32(size / length if scale is None else scale), step=step)
        )
    return found


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
        data = call.tensor(_data(call))
        wide = "float32" if call.dtype in {"float16", "bfloat16"} else call.dtype
        found = resampled(call.builder, call.cast(data, wide), _axes(call), sampling)
        return call.cast(found if isinstance(found, relax.Var) else call.emit(found), call.dtype)

    return convert


def _nearest(exact: bool) -> Converter:
    """The element at ⌊place · input / output⌋, of the middle of the new element if `exact`."""

    def convert(call: Call) -> relax.Expr:
        result = call.tensor(_data(call))
        for at, axis in enumerate(_axes(call)):
            if axis.size == axis.length and axis.scale == 1:
                continue
            # For places, PyTorch computes in single precision whatever the elements are.
            places = np.arange(axis.size, dtype=np.float32) + np.float32(0.5 if exact else 0)
            taken = np.floor(places * np.float32(axis.step)).astype(np.int64)
            taken = np.minimum(taken, axis.length - 1)
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
