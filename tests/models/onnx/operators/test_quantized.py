"""Quantized operators beside ONNX Runtime, value for value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from quantized_nodes import RANGES, Case, assert_equal, levels_of, node, random, real, scales, whole


def quantize(dtype: str, shape: Sequence[int], scale: np.ndarray, **attributes: Any) -> Case:
    """Numbers beyond the bounds of a type, halves, infinities and NaN among them."""
    x = real(*shape, spread=0.05 * (RANGES[dtype][1] - RANGES[dtype][0]) / 3)
    odd = np.array([np.inf, -np.inf, np.nan, 0.025, -0.025, 1e30], np.float32)
    x.reshape(-1)[: odd.size] = odd
    zero = whole(dtype, *scale.shape)
    return Case(
        [node("QuantizeLinear", "x s z", **attributes)],
        [f"y:{dtype}"],
        {"x": x},
        {"s": scale, "z": zero},
    )


def dequantize(dtype: str, shape: Sequence[int], scale: np.ndarray, **attributes: Any) -> Case:
    weights = {"s": scale}
    if dtype != "int32":
        weights["z"] = whole(dtype, *scale.shape)
    given = "x s z" if "z" in weights else "x s"
    output = "y:float16" if scale.dtype == np.float16 else "y"
    return Case(
        [node("DequantizeLinear", given, **attributes)],
        [output],
        {"x": whole(dtype, *shape)},
        weights,
    )


LINEAR = {
    **{f"to {dtype}": quantize(dtype, (3, 50), scales()) for dtype in RANGES if dtype != "int32"},
    "to int8 along an axis": quantize("int8", (3, 5, 40), scales(5), axis=1),
    "to uint8 along the last axis": quantize("uint8", (3, 5, 40), scales(40), axis=-1),
    "to uint8 in blocks": quantize("uint8", (3, 8, 40), scales(3, 2, 40), axis=1, block_size=4),
    "to int16 in uneven blocks": quantize("int16", (3, 9), scales(3, 3), axis=1, block_size=4),
    "of a vector": quantize("uint8", (90,), scales(1)),
    "without zero point": Case(
        [node("QuantizeLinear", "x s")], ["y:uint8"], {"x": real(4, 9)}, {"s": scales()}
    ),
    "of a type": Case(
        [node("QuantizeLinear", "x s", output_dtype=TensorProto.INT16)],
        ["y:int16"],
        {"x": real(4, 9)},
        {"s": scales()},
    ),
    "parameters that are fed": Case(
        [node("QuantizeLinear", "x s z"), node("DequantizeLinear", "y s z", to="b")],
        ["y:uint8", "b"],
        {"x": real(4, 90), "s": scales(), "z": whole("uint8")},
    ),
    "of a scalar": Case(
        [node("QuantizeLinear", "x s z"), node("DequantizeLinear", "y s z", to="b")],
        ["y:uint8", "b"],
        {"x": real()},
        {"s": scales(), "z": whole("uint8")},
    ),
    "before opset 13": Case(
        [node("QuantizeLinear", "x s z"), node("DequantizeLinear", "y s z", to="b")],
        ["y:int8", "b"],
        {"x": real(3, 9)},
        {"s": scales(), "z": whole("int8")},
        opset=10,
    ),
    "half precision": Case(
        [node("QuantizeLinear", "x s z"), node("DequantizeLinear", "y s z", to="b")],
        ["y:int8", "b:float16"],
        {"x": real(3, 90).astype(np.float16)},
        {"s": scales().astype(np.float16), "z": whole("int8")},
    ),
    **{f"from {dtype}": dequantize(dtype, (3, 50), scales()) for dtype in RANGES},
    "from int8 along an axis": dequantize("int8", (3, 5, 40), scales(5), axis=1),
    "from uint8 in blocks": dequantize("uint8", (3, 8), scales(3, 2), axis=1, block_size=4),
    "from int8 to half precision": dequantize("int8", (3, 50), scales().astype(np.float16)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_quantization_is_that_of_the_reference(tmp_path: Path, name: str) -> None:
    assert_equal(LINEAR[name], tmp_path, levels_of(name, LINEAR))


RANGED = {
    "both signs": real(7, 90),
    "positive": np.abs(real(7, 90)) + 3,
    "negative": -np.abs(real(7, 90)) - 3,
    "nothing but 0": np.zeros((2, 3), np.float32),
    "a scalar": real(),
}


@pytest.mark.parametrize("name", RANGED)
def test_dynamic_quantization_is_that_of_the_reference(tmp_path: Path, name: str) -> None:
    step = node("DynamicQuantizeLinear", "x", to="y s z")
    assert_equal(Case([step], ["y:uint8", "s", "z:uint8"], {"x": RANGED[name]}), tmp_path)


def product(
    left: tuple[str, Sequence[int]],
    right: tuple[str, Sequence[int]],
    left_zero: Sequence[int] | None = (),
    right_zero: Sequence[int] | None = (),
) -> Case:
    """A MatMulInteger with zero points of these shapes; None leaves one out."""
    weights = {"b": whole(right[0], *right[1])}
    names = ["x", "b", "-", "-"]
    for at, (name, dtype, shape) in enumerate(
        (("x0", left[0], left_zero), ("b0", right[0], right_zero)), 2
    ):
        if shape is not None:
            weights[name] = whole(dtype, *shape)
            names[at] = name
    step = node("MatMulInteger", " ".join(names))
    return Case([step], ["y:int32"], {"x": whole(left[0], *left[1])}, weights, opset=17)


def convolution(
    dtypes: tuple[str, str], x: Sequence[int], weights: Sequence[int], **attributes: Any
) -> Case:
    constants = {
        "w": whole(dtypes[1], *weights),
        "x0": whole(dtypes[0]),
        "w0": np.asarray(0 if dtypes[1] == "int8" else 119, dtypes[1]),
    }
    step = node("ConvInteger", "x w x0 w0", **attributes)
    return Case([step], ["y:int32"], {"x": whole(dtypes[0], *x)}, constants, opset=17)


def qlinear_convolution(
    dtypes: tuple[str, str],
    x: Sequence[int],
    weights: Sequence[int],
    each: bool = False,
    bias: bool = True,
    **attributes: Any,
) -> Case:
    """`each` channel has a scale of its own."""
    many = (weights[0],) if each else ()
    constants = {
        "xs": scales(),
        "x0": whole(dtypes[0]),
        "w": whole(dtypes[1], *weights),
        "ws": scales(*many),
        "w0": np.zeros(many, dtypes[1]) if dtypes[1] == "int8" else np.full(many, 119, dtypes[1]),
        "ys": scales(about=3.0),
        "y0": whole(dtypes[0]),
        "b": random.integers(-3000, 3000, weights[0]).astype(np.int32),
    }
    names = "x xs x0 w ws w0 ys y0" + (" b" if bias else "")
    step = node("QLinearConv", names, **attributes)
    feeds = {"x": whole(dtypes[0], *x)}
    return Case([step], [f"y:{dtypes[0]}"], feeds, constants, opset=17)


def qlinear_product(
    dtypes: tuple[str, str], left: Sequence[int], right: Sequence[int], each: bool = False
) -> Case:
    """`each` column has a scale of its own."""
    many = (right[-1],) if each else ()
    constants = {
        "xs": scales(),
        "x0": whole(dtypes[0]),
        "w": whole(dtypes[1], *right),
        "ws": scales(*many),
        "w0": whole(dtypes[1], *many),
        "ys": scales(about=8.0),
        "y0": whole(dtypes[0]),
    }
    step = node("QLinearMatMul", "x xs x0 w ws w0 ys y0")
    feeds = {"x": whole(dtypes[0], *left)}
    return Case([step], [f"y:{dtypes[0]}"], feeds, constants, opset=17)


U, S = "uint8", "int8"
PRODUCTS = {
    "two types": product((U, (5, 70)), (S, (70, 33))),
    "signed": product((S, (5, 70)), (S, (70, 33))),
    "unsigned": product((U, (5, 70)), (U, (70, 33))),
    "without zero points": product((U, (5, 70)), (S, (70, 33)), None, None),
    "zero point of each column": product((U, (5, 70)), (S, (70, 33)), (), (33,)),
    "many matrices": product((U, (2, 3, 5, 17)), (S, (3, 17, 8)), (1,), (1,)),
    "large sums": product((U, (2, 5000)), (U, (5000, 3))),
    "a vector": product((U, (70,)), (S, (70, 33))),
    "convolution": convolution((U, U), (1, 3, 9, 8), (5, 3, 3, 3), pads=[1, 1, 1, 1]),
    "signed weights": convolution((U, S), (2, 4, 9, 8), (6, 2, 3, 3), group=2, strides=[2, 1]),
    "depthwise": convolution((U, S), (1, 6, 9, 8), (6, 1, 3, 3), group=6, auto_pad="SAME_UPPER"),
    "of a sequence": convolution((U, S), (1, 4, 20), (6, 4, 3), dilations=[2], pads=[1, 3]),
    "quantized convolution": qlinear_convolution((U, U), (1, 3, 9, 8), (5, 3, 3, 3)),
    "of each channel": qlinear_convolution(
        (U, S), (2, 4, 9, 8), (6, 2, 3, 3), each=True, group=2, pads=[1, 1, 1, 1]
    ),
    "of signed images": qlinear_convolution((S, S), (1, 8, 7, 7), (16, 8, 1, 1), bias=False),
    "quantized product": qlinear_product((U, U), (5, 70), (70, 33)),
    "of each column": qlinear_product((U, S), (2, 5, 70), (70, 33), each=True),
    "of signed matrices": qlinear_product((S, S), (2, 5, 70), (2, 70, 33)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_those_of_the_reference(tmp_path: Path, name: str) -> None:
    assert_equal(PRODUCTS[name], tmp_path, levels_of(name, PRODUCTS))
