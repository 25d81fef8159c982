"""Operators on regions of images."""

from __future__ import annotations

from typing import Any

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, like, text
from harness.models.onnx.refusal import Unsupported

_HALF_PIXEL, _WHOLE_PIXEL = "half_pixel", "output_half_pixel"
_FIRST_OPSET_OF_HALF_PIXELS = 16


def _roi_align(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Regions are scaled to the map first, and moved by half a pixel of the map then."""
    image, regions, batch = inputs[0], inputs[1], inputs[2]
    if (mode := text(attributes, "mode", "avg")) != "avg":
        raise Unsupported(f"mode={mode}: TVM's kernel takes another maximum than ONNX says")
    default = _HALF_PIXEL if opset >= _FIRST_OPSET_OF_HALF_PIXELS else _WHOLE_PIXEL
    place = text(attributes, "coordinate_transformation_mode", default)
    if place not in {_HALF_PIXEL, _WHOLE_PIXEL}:
        raise Unsupported(f"coordinate_transformation_mode={place}")
    scale = like(attributes.get("spatial_scale", 1.0), regions)
    regions = builder.emit(relax.op.multiply(regions, scale))
    if place == _HALF_PIXEL:
        regions = builder.emit(relax.op.subtract(regions, like(0.5, regions)))
    batch = builder.emit(relax.op.clip(batch, 0, shape_of(image)[0] - 1))
    numbers = builder.emit(relax.op.astype(batch, str(regions.ty.dtype)))
    numbers = builder.emit(relax.op.expand_dims(numbers, 1))
    return relax.op.vision.roi_align(
        image,
        builder.emit(relax.op.concat([numbers, regions], axis=1)),
        pooled_size=(attributes.get("output_height", 1), attributes.get("output_width", 1)),
        spatial_scale=1.0,
        sample_ratio=attributes.get("sampling_ratio", 0),
        aligned=place == _HALF_PIXEL,
        layout="NCHW",
        mode=mode,
    )


def _select_boxes(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    raise Unsupported(
        "how many boxes it selects depends on their values; 'layeredge models cut' writes the "
        "model before it"
    )


REGIONS: dict[str, Converter] = {"NonMaxSuppression": _select_boxes, "RoiAlign": _roi_align}
