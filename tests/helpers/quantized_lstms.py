"""Quantized LSTMs of ONNX Runtime in several forms."""

from __future__ import annotations

from typing import Any

import numpy as np
from quantized_nodes import Case, node, real, scales, whole


def lstm(
    weights: str,
    steps: int,
    batch: int,
    hidden: int,
    parts: str = "",
    direction: str = "forward",
    each: bool = False,
    **attributes: Any,
) -> Case:
    """A DynamicQuantizeLSTM with these of its optional inputs; `each` column has a scale."""
    directions, inputs = 1 + (direction == "bidirectional"), 33
    shape = (directions, *([4 * hidden] if each else []))
    zero = 0 if weights == "int8" else 119
    constants = {
        "W": whole(weights, directions, inputs, 4 * hidden),
        "R": whole(weights, directions, hidden, 4 * hidden),
        "B": real(directions, 8 * hidden),
        "n": np.arange(steps - 1, steps - 1 - batch, -1).clip(1).astype(np.int32),
        "P": real(directions, 3 * hidden),
        **{name: scales(*shape, about=0.01) for name in ("ws", "rs")},
        **{name: np.full(shape, zero, weights) for name in ("w0", "r0")},
    }
    feeds = {
        "X": real(steps, batch, inputs),
        "h": real(directions, batch, hidden),
        "c": real(directions, batch, hidden),
    }
    given = ["X", "W", "R", *(name if name in parts else "-" for name in "BnhcP")]
    step = node(
        "DynamicQuantizeLSTM",
        " ".join([*given, "ws", "w0", "rs", "r0"]),
        to="y last memory",
        domain="com.microsoft",
        hidden_size=hidden,
        direction=direction,
        **attributes,
    )
    feeds = {name: value for name, value in feeds.items() if name in given}
    return Case([step], ["y", "last", "memory"], feeds, constants, opset=17)


LSTMS = {
    "of one step": lstm("uint8", 1, 1, 16),
    "forward": lstm("uint8", 12, 1, 20, "Bhc"),
    "of signed weights": lstm("int8", 7, 1, 33, "B"),
    "bidirectional": lstm("uint8", 30, 1, 64, "Bhc", "bidirectional"),
    "of rows": lstm("uint8", 7, 4, 20, "B", "bidirectional"),
    "of odd rows": lstm("int8", 7, 5, 20, "Bhc", "bidirectional"),
    "of each column": lstm("int8", 7, 3, 20, "B", "reverse", each=True),
    "with lengths": lstm("uint8", 7, 3, 20, "Bnhc", "bidirectional"),
    "with peepholes": lstm("uint8", 7, 3, 20, "BhcP", clip=0.7),
    "of coupled gates": lstm("uint8", 7, 3, 20, "Bhc", input_forget=1),
}
