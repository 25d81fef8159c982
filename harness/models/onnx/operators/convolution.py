"""Convolutions."""

from __future__ import annotations

from typing import Any

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm


def _transposed_convolution(
    builder: Builder, inputs: Any, attributes: Any, opset: int
) -> relax.Expr:
    """Where the shape of the output is given, it says how much is cut off at both ends."""
    sizes = attributes.get("output_shape")
    if sizes is None:
        return by_tvm(builder, inputs, attributes, opset, "ConvTranspose")
    lengths, taps = shape_of(inputs[0])[2:], shape_of(inputs[1])[2:]
    ones, zeros = (1,) * len(lengths), (0,) * len(lengths)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    whole = [
        stride * (length - 1) + (tap - 1) * dilation + 1 + added
        for length, tap, stride, dilation, added in zip(
            lengths, taps, strides, dilations, attributes.get("output_padding", zeros), strict=True
        )
    ]
    added = [
        max(0, size - extent) for extent, size in zip(whole, sizes[-len(whole) :], strict=True)
    ]
    cut = [
        extent + more - size
        for extent, more, size in zip(whole, added, sizes[-len(whole) :], strict=True)
    ]
    less, more = [each // 2 for each in cut], [each - each // 2 for each in cut]
    upper = attributes.get("auto_pad", b"NOTSET") == b"SAME_UPPER"
    attributes["output_padding"] = [
        each + more
        for each, more in zip(attributes.get("output_padding", zeros), added, strict=True)
    ]
    given = {**attributes, "pads": (*less, *more) if upper else (*more, *less)}
    del given["output_shape"]
    attributes.get("group")  # TVM's converter reads it of the others
    given.pop("auto_pad", None)
    return by_tvm(builder, inputs, given, opset, "ConvTranspose")


CONVOLUTION: dict[str, Converter] = {
    "ConvTranspose": _transposed_convolution,
}
