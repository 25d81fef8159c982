"""Resizing of images as LiteRT places pixels."""

from __future__ import annotations

import numpy as np

from harness.compiler.api import constant, relax
from harness.models.tflite.operation import Converter, Operation, Unsupported


def _nearest(operation: Operation) -> relax.Expr:
    """Pixels are gathered: their places are known."""
    options = operation.options("ResizeNearestNeighborOptions")
    found = operation.value(0)
    for axis, size in enumerate(operation.integers(1), 1):
        extent = operation.shape(0)[axis]
        places = _places(
            extent, size, bool(options.AlignCorners()), bool(options.HalfPixelCenters())
        )
        if not np.array_equal(places, np.arange(extent)):
            found = relax.op.take(found, constant(places), axis=axis)
    return found


def _places(extent: int, size: int, corners: bool, centers: bool) -> np.ndarray:
    """Source: `GetNearestNeighbor` of LiteRT's reference kernels."""
    aligned = corners and size > 1
    scale = np.float32((extent - 1) / (size - 1) if aligned else extent / size)
    exact = (np.arange(size, dtype=np.float32) + np.float32(0.5 if centers else 0)) * scale
    # Halves are rounded up.
    rounded = np.floor(exact + np.float32(0.5)) if corners else np.floor(exact)
    return np.asarray(np.clip(rounded, 0, extent - 1), np.int32)


def _bilinear(operation: Operation) -> relax.Expr:
    options = operation.options("ResizeBilinearOptions")
    corners, centers = bool(options.AlignCorners()), bool(options.HalfPixelCenters())
    if corners and centers:
        raise Unsupported("corners and pixel centres aligned at once")
    mode = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    size = tuple(operation.integers(1))
    return relax.op.image.resize2d(operation.value(0), size, None, "NHWC", "linear", mode)


RESIZE: dict[str, Converter] = {
    "RESIZE_BILINEAR": _bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
}
