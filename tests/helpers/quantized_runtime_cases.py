"""One node of each quantized operator of ONNX Runtime's own domain, in several forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from quantized_nodes import Case, node, random, real, scales, whole

U, S = "uint8", "int8"
Shape = Sequence[int]


def case(
    operator: str,
    names: str,
    output: str,
    feeds: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    **attributes: Any,
) -> Case:
    step = node(operator, names, domain="com.microsoft", **attributes)
    return Case([step], [output], feeds, weights, opset=17)


def parameters(dtype: str, *names: str, about: float = 0.05) -> dict[str, np.ndarray]:
    """A scale and a zero point for each name."""
    return {
        key: value
        for name in names
        for key, value in ((f"{name}s", scales(about=about)), (f"{name}0", whole(dtype)))
    }


def of_two(operator: str, dtype: str, a: Shape, b: Shape, about: float = 0.1) -> Case:
    weights = {**parameters(dtype, "a", "b"), **parameters(dtype, "c", about=about)}
    feeds = {"a": whole(dtype, *a), "b": whole(dtype, *b)}
    return case(operator, "a as a0 b bs b0 cs c0", f"y:{dtype}", feeds, weights)


def of_one(operator: str, dtype: str, x: Shape, about: float = 0.05, **attributes: Any) -> Case:
    weights = {**parameters(dtype, "x"), **parameters(dtype, "y", about=about)}
    feeds = {"x": whole(dtype, *x)}
    return case(operator, "x xs x0 ys y0", f"y:{dtype}", feeds, weights, **attributes)


SHAPES: dict[str, tuple[Shape, Shape]] = {
    "equal shapes": ((2, 3, 17, 9), (2, 3, 17, 9)),
    "a number of each channel": ((2, 5, 7, 33), (1, 5, 1, 1)),
    "vectors": ((200,), (200,)),
    "a column and a row": ((40, 1), (1, 70)),
    "one number": ((3, 50), ()),
}
ELEMENTWISE = {
    f"{operator} of {dtype}: {name}": of_two(operator, dtype, *shapes, about=about)
    for operator, about in (("QLinearAdd", 0.1), ("QLinearMul", 2.0))
    for dtype in (U, S)
    for name, shapes in SHAPES.items()
}
FUNCTIONS = {
    f"{operator} of {dtype} {list(shape)}": of_one(operator, dtype, shape, about, **attributes)
    for operator, about, attributes in (
        ("QLinearSigmoid", 0.004, {}),
        ("QLinearLeakyRelu", 0.05, {}),
        ("QLinearLeakyRelu", 0.03, {"alpha": 0.3}),
    )
    for dtype in (U, S)
    for shape in ((3, 5, 40), (1000,), (1, 1))
}
IMAGES = {
    f"{operator} of {dtype} {list(shape)} {attributes}": of_one(
        operator, dtype, shape, **attributes
    )
    for dtype in (U, S)
    for operator, shape, attributes in (
        ("QLinearGlobalAveragePool", (1, 8, 7, 7), {}),
        ("QLinearGlobalAveragePool", (2, 5, 9, 3), {"channels_last": 1}),
        ("QLinearGlobalAveragePool", (3, 1, 1, 1), {}),
        ("QLinearAveragePool", (1, 3, 12, 9), {"kernel_shape": [3, 3]}),
        ("QLinearAveragePool", (2, 4, 12, 9), {"kernel_shape": [2, 3], "strides": [2, 1]}),
        ("QLinearAveragePool", (1, 3, 8, 8), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("QLinearAveragePool", (1, 3, 8, 8),
         {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("QLinearAveragePool", (1, 9, 7, 4), {"kernel_shape": [3, 3], "channels_last": 1}),
        ("QLinearAveragePool", (1, 3, 40), {"kernel_shape": [5], "strides": [5]}),
        ("QLinearAveragePool", (1, 3, 9, 9),
         {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    )
}  # fmt: skip


def softmax(dtype: str, x: Shape, **attributes: Any) -> Case:
    weights = {
        "xs": scales(),
        "x0": whole(dtype),
        "ys": np.asarray(1 / 256, np.float32),
        "y0": np.zeros((), dtype),
    }
    feeds = {"x": whole(dtype, *x)}
    return case("QLinearSoftmax", "x xs x0 ys y0", f"y:{dtype}", feeds, weights, **attributes)


def concat(dtype: str, parts: Sequence[Shape], axis: int) -> Case:
    """The first part has the scale and the zero point of the result."""
    weights, feeds, names = parameters(dtype, "y"), {}, ["ys y0"]
    for at, shape in enumerate(parts):
        feeds[f"x{at}"] = whole(dtype, *shape)
        weights |= {f"s{at}": scales(), f"z{at}": whole(dtype)}
        names.append(f"x{at} s{at} z{at}")
    weights |= {"s0": weights["ys"], "z0": weights["y0"]}
    return case("QLinearConcat", " ".join(names), f"y:{dtype}", feeds, weights, axis=axis)


def where(dtype: str, condition: Shape, x: Shape, y: Shape) -> Case:
    weights = parameters(dtype, "x", "b", "y")
    feeds = {
        "c": np.asarray(random.integers(0, 2, condition), np.bool_),
        "x": whole(dtype, *x),
        "b": whole(dtype, *y),
    }
    return case("QLinearWhere", "c x xs x0 b bs b0 ys y0", f"y:{dtype}", feeds, weights)


OTHERS = {
    "QLinearSoftmax": softmax(U, (3, 4, 30), opset=13),
    "QLinearSoftmax of signed integers": softmax(S, (5, 9), opset=13),
    "QLinearSoftmax of an axis": softmax(U, (3, 7, 30), opset=13, axis=1),
    "QLinearSoftmax before opset 13": softmax(U, (3, 4, 30), opset=12, axis=1),
    "QLinearSoftmax of the last axis": softmax(U, (3, 4, 30), opset=12),
    "QLinearConcat": concat(U, [(2, 3, 5), (2, 4, 5), (2, 1, 5)], 1),
    "QLinearConcat of signed integers": concat(S, [(9, 7), (9, 7)], -1),
    "QLinearWhere": where(U, (4, 9), (4, 9), (4, 9)),
    "QLinearWhere of signed integers": where(S, (4, 1), (4, 9), (9,)),
}


def dense(
    dtypes: tuple[str, str],
    a: Shape,
    b: Shape,
    each: bool = False,
    bias: bool = True,
    whole_result: bool = True,
    **attributes: Any,
) -> Case:
    """A QGemm; `each` column has a scale of its own."""
    columns = b[0] if attributes.get("transB") else b[1]
    many = (columns,) if each else ()
    weights = {
        **parameters(dtypes[0], "a"),
        "b": whole(dtypes[1], *b),
        "bs": scales(*many),
        "b0": np.zeros(many, S) if dtypes[1] == S else np.full(many, 119, U),
    }
    names = ["a as a0 b bs b0", "c" if bias else "-"]
    if bias:
        weights["c"] = random.integers(-3000, 3000, columns).astype(np.int32)
    if whole_result:
        weights |= parameters(dtypes[0], "y", about=8.0)
        names.append("ys y0")
    output = f"y:{dtypes[0]}" if whole_result else "y"
    feeds = {"a": whole(dtypes[0], *a)}
    return case("QGemm", " ".join(names), output, feeds, weights, **attributes)


def to_real(
    dtypes: tuple[str, str], a: Shape, b: Shape, each: bool = False, bias: bool = True
) -> Case:
    """A MatMulIntegerToFloat."""
    many = (b[-1],) if each else ()
    weights = {
        **parameters(dtypes[0], "a"),
        "b": whole(dtypes[1], *b),
        "bs": scales(*many),
        "b0": np.zeros(many, S) if dtypes[1] == S else np.full(many, 119, U),
        "c": real(b[-1]),
    }
    names = "a b as bs a0 b0" + (" c" if bias else "")
    return case("MatMulIntegerToFloat", names, "y", {"a": whole(dtypes[0], *a)}, weights)


def of_real(dtype: str, a: Shape, b: Shape, each: bool = False, bias: bool = True) -> Case:
    """A DynamicQuantizeMatMul."""
    many = (b[-1],) if each else ()
    weights = {
        "b": whole(dtype, *b),
        "bs": scales(*many),
        "b0": np.zeros(many, S) if dtype == S else np.full(many, 119, U),
        "c": real(b[-1]),
    }
    names = "a b bs b0" + (" c" if bias else "")
    return case("DynamicQuantizeMatMul", names, "y", {"a": real(*a)}, weights)


PRODUCTS = {
    "QGemm": dense((U, U), (5, 70), (70, 33)),
    "QGemm of signed integers": dense((S, S), (5, 70), (70, 33)),
    "QGemm of each column": dense((U, S), (5, 70), (70, 33), each=True),
    "QGemm transposed": dense((U, S), (5, 70), (33, 70), transB=1, alpha=0.7),
    "QGemm of both transposed": dense((U, U), (70, 5), (33, 70), transA=1, transB=1),
    "QGemm without bias": dense((U, S), (1, 300), (300, 10), bias=False),
    "QGemm to real numbers": dense((U, S), (5, 70), (70, 33), whole_result=False),
    "MatMulIntegerToFloat": to_real((U, S), (5, 70), (70, 33)),
    "MatMulIntegerToFloat of each column": to_real((U, U), (2, 5, 70), (70, 33), each=True),
    "MatMulIntegerToFloat without bias": to_real((S, S), (3, 8), (8, 9), bias=False),
    "DynamicQuantizeMatMul": of_real(U, (5, 70), (70, 33)),
    "DynamicQuantizeMatMul of each column": of_real(S, (2, 5, 70), (70, 33), each=True),
    "DynamicQuantizeMatMul without bias": of_real(S, (1, 9), (9, 9), bias=False),
}

CASES = {**ELEMENTWISE, **FUNCTIONS, **IMAGES, **OTHERS, **PRODUCTS}
