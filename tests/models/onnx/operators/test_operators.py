"""Single ONNX operators, compiled: right values, or a refusal that says what is not supported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_nodes import Node, assert_same, computed, drawn, network
from scipy import special
from small_models import save

from harness.building.blame import blaming
from harness.building.network import machine_of
from harness.compiler.api import relax, topi, tvm
from harness.errors import CellFailure, InputError
from harness.hardware import load_target
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.models.onnx import importer as onnx_importer
from harness.models.onnx.operators.resize import Axis, Sampling
from harness.passes import legalise
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse

NAN, INFINITY = float("nan"), float("inf")
ODD = [NAN, 1.0, -2.0, INFINITY, -INFINITY, 0.5, -0.25, NAN]


NAN_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sign": np.sign,
    "Exp": np.exp,
    "Tanh": np.tanh,
    "Erf": special.erf,
    "Sigmoid": special.expit,
    "Softplus": lambda x: np.logaddexp(0, x),
    "LeakyRelu": lambda x: np.where(x < 0, np.asarray(0.01, x.dtype) * x, x),
    "Elu": lambda x: np.where(x < 0, np.expm1(x), x),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_functions_keep_nan_and_infinity_in_both_precisions(
    tmp_path: Path, dtype: str
) -> None:
    x = np.array(ODD, dtype)
    names = list(NAN_FUNCTIONS)
    if dtype == "float64":
        names = [
            name for name in names if name not in {"Elu", "Erf", "Softplus"}
        ]  # ONNX Runtime has none
    kind = "" if dtype == "float32" else ":double"
    nodes = [helper.make_node(name, ["x"], [name]) for name in names]
    with np.errstate(all="ignore"):
        right = [NAN_FUNCTIONS[name](x).astype(dtype) for name in names]
    model = network(nodes, [name + kind for name in names], {"x": x})
    assert_same(computed(model, {"x": x}, tmp_path), right)


def test_extrema_of_several_values_keep_nan(tmp_path: Path) -> None:
    x = np.array([[NAN, 1, 2, 3], [1, NAN, 2, 3], [3, 2, 1, NAN], [-INFINITY] * 4], np.float32)
    feeds = {"x": x, "image": np.concatenate([x, x.T])[None, None]}
    pool = helper.make_node("MaxPool", ["image"], ["pool"], kernel_shape=[2, 2], strides=[2, 2])
    nodes = [
        helper.make_node("Max", ["x", "other"], ["max"]),
        helper.make_node("Min", ["x", "other"], ["min"]),
        helper.make_node("Clip", ["x", "low", "high"], ["clip"]),
        helper.make_node("ReduceMax", ["x"], ["greatest"], axes=[1], keepdims=0),
        helper.make_node("ReduceMin", ["x"], ["least"], axes=[0], keepdims=0),
        helper.make_node("Softmax", ["x"], ["softmax"], axis=1),
        pool,
        helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=0),
        helper.make_node("ArgMin", ["x"], ["last"], axis=0, keepdims=1, select_last_index=1),
    ]
    other = np.flip(x).copy()
    weights = {"other": other, "low": np.float32(-1), "high": np.float32(2)}
    outputs = ["max", "min", "clip", "greatest", "least", "softmax", "pool"]
    model = network(nodes, [*outputs, "place:int64", "last:int64"], feeds, weights)
    blocks = feeds["image"].reshape(1, 1, 4, 2, 2, 2)
    right = [
        np.maximum(x, other),
        np.minimum(x, other),
        np.clip(x, np.float32(-1), np.float32(2)),
        x.max(axis=1),
        x.min(axis=0),
        np.full_like(x, NAN),
        blocks.max(axis=(3, 5)),
        x.argmax(axis=1),
        3 - np.flip(x, 0).argmin(axis=0, keepdims=True),
    ]
    assert_same(computed(model, feeds, tmp_path), right)


Case = tuple[Sequence[Node], Sequence[str], Mapping[str, np.ndarray], Mapping[str, np.ndarray], int]


def node(operator: str, *inputs: str, to: str = "y", **attributes: Any) -> Node:
    return helper.make_node(operator, list(inputs), to.split(), **attributes)


IMAGE = {"x": drawn(1, 2, 5, 7)}
ROWS = {"x": drawn(3, 8)}
SCALES = {"s": np.array([1, 1, 2, 2], np.float32)}
LIKE_ONNXRUNTIME: dict[str, Case] = {
    "Clip before opset 11": ([node("Clip", "x", min=-0.5, max=0.5)], ["y"], ROWS, {}, 6),
    "Clip without bounds": ([node("Clip", "x")], ["y"], ROWS, {}, 17),
    "Slice before opset 10": (
        [node("Slice", "x", starts=[1, -2], ends=[3, 100], axes=[1, 3])],
        ["y"],
        IMAGE,
        {},
        9,
    ),
    "Upsample": ([node("Upsample", "x", "s", mode="linear")], ["y"], IMAGE, SCALES, 9),
    "Upsample before opset 9": (
        [node("Upsample", "x", scales=[1.0, 1.0, 2.0, 3.0])],
        ["y"],
        IMAGE,
        {},
        7,
    ),
    "Resize before opset 11": ([node("Resize", "x", "s")], ["y"], IMAGE, SCALES, 10),
    "Celu": ([node("Celu", "x", alpha=2.0)], ["y"], ROWS, {}, 17),
    "LpNormalization": (
        [node("LpNormalization", "x", p=1), node("LpNormalization", "x", to="z", axis=0)],
        ["y", "z"],
        ROWS,
        {},
        17,
    ),
    "Equal of booleans": (
        [node("Greater", "x", "w", to="t"), node("Equal", "t", "b", to="y")],
        ["y:bool"],
        {"x": np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)},
        {"w": np.zeros(8, np.float32), "b": np.arange(8) % 3 == 0},
        17,
    ),
    "IsInf of one sign": (
        [node("IsInf", "x", detect_negative=0), node("IsInf", "x", to="z", detect_positive=0)],
        ["y:bool", "z:bool"],
        {"x": np.array(ODD, np.float32)},
        {},
        17,
    ),
    "OneHot": (
        [node("OneHot", "x", "d", "v", axis=0)],
        ["y"],
        {"x": np.array([0, 2, -1, 9], np.int64)},
        {"d": np.array(5), "v": np.array([2, 9], np.float32)},
        17,
    ),
    "Pow of integers": (
        [node("Pow", "x", "three"), node("Pow", "x", "x", to="z")],
        ["y:int64", "z:int64"],
        {"x": np.array([3, 2, 1, 5], np.int64)},
        {"three": np.array(3, np.int64)},
        17,
    ),
    "Pow of a float and an integer": (
        [node("Pow", "x", "n")],
        ["y"],
        {"x": np.array([-3, 2, 0, -1.5], np.float32), "n": np.array([2, 5, 0, 3], np.int64)},
        {},
        17,
    ),
    "LayerNormalization with all outputs": (
        [node("LayerNormalization", "x", "w", to="y mean spread", axis=2)],
        ["y", "mean", "spread"],
        IMAGE,
        {"w": drawn(5, 7)},
        17,
    ),
    "reductions of no axis": (
        [
            node("ReduceL1", "x", to="a", noop_with_empty_axes=1),
            node("ReduceL2", "x", to="b", noop_with_empty_axes=1),
            node("ReduceSumSquare", "x", to="c", noop_with_empty_axes=1, keepdims=0),
            node("ReduceLogSum", "c", to="d", noop_with_empty_axes=1),
            node("ReduceSum", "x", to="e", noop_with_empty_axes=1),
            node("ReduceL1", "x", to="f", keepdims=0),
        ],
        ["a", "b", "c", "d", "e", "f"],
        ROWS,
        {},
        18,
    ),
    "Dropout with its mask": (
        [node("Dropout", "x", "r", to="y mask")],
        ["y", "mask:bool"],
        ROWS,
        {"r": np.float32(0.3)},
        17,
    ),
    "ConvTranspose to a given shape": (
        [node("ConvTranspose", "x", "w", strides=[2, 2], output_shape=[10, 13])],
        ["y"],
        IMAGE,
        {"w": drawn(2, 3, 3, 3)},
        17,
    ),
    "ConvTranspose in groups to a given shape": (
        [node("ConvTranspose", "x", "w", strides=[2, 2], output_shape=[10, 13], group=2)],
        ["y"],
        IMAGE,
        {"w": drawn(2, 3, 3, 3)},
        17,
    ),
    "CumSum": (
        [
            node("CumSum", "x", "a", to="y"),
            node("CumSum", "x", "a", to="z", exclusive=1, reverse=1),
        ],
        ["y", "z"],
        ROWS,
        {"a": np.array(1)},
        17,
    ),
    "GroupNormalization": (
        [node("GroupNormalization", "x", "w", "b", num_groups=2)],
        ["y"],
        {"x": drawn(2, 4, 3, 3)},
        {"w": drawn(4), "b": drawn(4)},
        21,
    ),
    "Attention": (
        [node("Attention", "x", "x", "x", q_num_heads=2, kv_num_heads=2)],
        ["y"],
        {"x": drawn(1, 3, 8)},
        {},
        23,
    ),
    "Size": (
        [node("Size", "x", to="n"), node("CastLike", "n", "x", to="f"), node("Div", "x", "f")],
        ["y"],
        ROWS,
        {},
        17,
    ),
    "ScatterND after a product": (
        [node("MatMul", "x", "w", to="t"), node("ScatterND", "t", "i", "u")],
        ["y"],
        ROWS,
        {"w": drawn(8, 4), "i": np.array([[-1], [0]]), "u": drawn(2, 4)},
        17,
    ),
    "ThresholdedRelu": (
        [node("ThresholdedRelu", "x", alpha=0.4)],
        ["y"],
        {"x": np.array(ODD, np.float32)},
        {},
        17,
    ),
    "ReduceLogSumExp": (
        [
            node("ReduceLogSumExp", "x", "a"),
            node("ReduceLogSumExp", "x", to="z", keepdims=0),
            node("ReduceLogSumExp", "x", to="s", noop_with_empty_axes=1),
        ],
        ["y", "z", "s"],
        {
            "x": np.array(
                [[1, INFINITY], [-INFINITY, -INFINITY], [90, 91], [2, -INFINITY]],
                np.float32,
            )
        },
        {"a": np.array([1])},
        18,
    ),
    "ReduceLogSumExp of all": (
        [node("ReduceLogSumExp", "x", axes=[0], keepdims=0)],
        ["y"],
        {"x": drawn(3, 4)},
        {},
        13,
    ),
    "Mod of integers": (
        [node("Mod", "i", "j"), node("Mod", "i", "j", to="z", fmod=1)],
        ["y:int32", "z:int32"],
        {"i": np.array([7, -7, 7, -7], np.int32), "j": np.array([3, 3, -3, -3], np.int32)},
        {},
        13,
    ),
    "Mod of floats": (
        [node("Mod", "x", "d", fmod=1)],
        ["y"],
        {
            "x": np.array([7, -7, 2, -2], np.float32),
            "d": np.array([3, 3, INFINITY, -3], np.float32),
        },
        {},
        13,
    ),
    "Sinh": ([node("Sinh", "x"), node("Cosh", "x", to="z")], ["y", "z"], ROWS, {}, 17),
}


@pytest.mark.parametrize("name", LIKE_ONNXRUNTIME)
def test_operator_gives_what_onnxruntime_does(tmp_path: Path, name: str) -> None:
    nodes, outputs, feeds, weights, opset = LIKE_ONNXRUNTIME[name]
    model = network(nodes, outputs, feeds, weights, opset)
    model.ir_version = 10
    right = reference(model, feeds)
    for value, array in zip(model.graph.output, right, strict=True):
        dtype = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, dtype, array.shape))
    assert_same(computed(model, feeds, tmp_path), right)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_remainder_of_floats_has_the_sign_of_the_divisor(tmp_path: Path, dtype: str) -> None:
    """ONNX Runtime takes floats with `fmod` alone before opset 28; what is right is NumPy's."""
    x = np.array([7, -7, 7, -7, 2, -2, 2, -2, 6, NAN], dtype)
    d = np.array([3, 3, -3, -3, INFINITY, INFINITY, -INFINITY, -INFINITY, 3, 1], dtype)
    feeds = {"x": x, "d": d}
    model = network(
        [node("Mod", "x", "d")], [f"y:{'float' if x.itemsize == 4 else 'double'}"], feeds
    )
    assert_same(computed(model, feeds, tmp_path), [np.mod(x, d)])


def test_softplus_is_exact_where_the_exponential_is_tiny_and_where_it_overflows(
    tmp_path: Path,
) -> None:
    x = np.array([-87, -20, -12.3392, -1, 0, 3, 20, 100, 1e30], np.float32)
    (found,) = computed(network([node("Softplus", "x")], ["y"], {"x": x}), {"x": x}, tmp_path)
    np.testing.assert_allclose(found, np.logaddexp(0, x.astype(np.float64)), rtol=1e-6)


# Resize


MODES = st.sampled_from(["nearest", "linear", "cubic"])
COORDINATES = st.sampled_from(
    ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
)
ROUNDINGS = st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])


@settings(max_examples=80, deadline=None)
@given(
    mode=MODES,
    coordinates=COORDINATES,
    rounding=ROUNDINGS,
    length=st.integers(2, 9),
    scale=st.sampled_from([0.4, 0.5, 0.6, 1.0, 1.3, 1.5, 2.0, 3.3]),
    outside=st.booleans(),
    smooth=st.booleans(),
)
def test_resize_samples_where_onnxruntime_does(
    mode: str,
    coordinates: str,
    rounding: str,
    length: int,
    scale: float,
    outside: bool,
    smooth: bool,
) -> None:
    if mode == "nearest" and coordinates == "half_pixel_symmetric":
        coordinates = "half_pixel"  # elements are tied there by the last bit
    cubic, smooth = mode == "cubic", smooth and mode != "nearest"
    axis = Axis(length, int(np.float32(scale) * np.float32(length)), np.float32(scale))
    if axis.size in {0, length}:
        return
    x = drawn(1, 1, 3, length)
    resize = node(
        "Resize",
        *("x", "", "s"),
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=rounding,
        exclude_outside=int(outside and cubic),
        antialias=int(smooth),
    )
    scales = {"s": np.array([1, 1, 1, scale], np.float32)}
    (right,) = reference(network([resize], ["y"], {"x": x}, scales, 19), {"x": x})
    sampling = Sampling(mode, coordinates, rounding, -0.75, outside and cubic, smooth)
    places, weights = sampling.taps(axis)
    np.testing.assert_allclose((x[..., places] * weights).sum(-1), right, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_resize_gives_what_onnxruntime_does_in_every_form(tmp_path: Path) -> None:
    weights = {
        "odd": np.array([1, 1, 1.5, 0.6], np.float32),
        "whole": np.array([1, 1, 2, 3], np.float32),
        "small": np.array([1, 1, 0.4, 0.2], np.float32),
        "two": np.array([2, 2], np.float32),
        "eight": np.array([8, 8], np.int64),
        "crop": np.array([0, 0, 0.2, 0.2, 1, 1, 1.1, 0.8], np.float32),
        "crops": np.array([1, 2, 3, 4], np.int64),
        "channels": np.array([1, 2, 2, 1], np.float32),
    }
    forms: list[tuple[list[str], dict[str, Any]]] = [
        (["odd"], {"mode": "linear"}),
        (["odd"], {"mode": "cubic", "exclude_outside": 1}),
        (["odd"], {"mode": "nearest", "nearest_mode": "ceil"}),
        (["whole"], {"mode": "nearest"}),
        (["whole"], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
        (["small"], {"mode": "linear", "antialias": 1}),
        (["two"], {"mode": "linear", "axes": [3, 2]}),
        (["channels"], {"mode": "nearest"}),
        (["", "eight"], {"keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]}),
    ]
    nodes = [
        node("Resize", "x", "", *inputs, to=f"y{at}", **attributes)
        for at, (inputs, attributes) in enumerate(forms)
    ]
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    nodes.append(node("Resize", "x", "crop", "", "crops", to="cropped", mode="linear", **crop))
    outputs = [each.output[0] for each in nodes]
    model = network(nodes, outputs, IMAGE, weights, 19)
    assert_same(computed(model, IMAGE, tmp_path), reference(model, IMAGE))


# Refusals


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        import_model(save(model, folder / "model.onnx"), {}, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


REFUSED: dict[str, tuple[Node, Sequence[str], str]] = {
    "a shape that depends on values": (
        node("NonZero", "x", name="found"),
        ["y:int64"],
        "operator NonZero of node 'found' is not supported in this form: "
        "the shape of its output 'y' depends on the inputs' values",
    ),
    "a part without elements": (
        node("Split", "x", "sizes", to="y z", axis=1, name="cut"),
        ["y", "z"],
        "operator Split of node 'cut' is not supported in this form: a part of it has no elements",
    ),
    "sizes that are not constant": (
        node("Resize", "x", "", "r", name="up"),
        ["y"],
        "operator Resize of node 'up' is not supported in this form: "
        "its input 'scales' depends on the inputs' values",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_import_names_operator_node_and_reason_when_a_form_is_not_supported(
    tmp_path: Path, name: str
) -> None:
    refused, outputs, expected = REFUSED[name]
    weights = {each: np.ones(2, np.float32) for each in "abcd"}
    weights["sizes"] = np.array([0, 2], np.int64)
    feeds = {**IMAGE, "r": np.ones(4, np.float32)}
    used = {key: value for key, value in feeds.items() if key in refused.input}
    kept = {key: value for key, value in weights.items() if key in refused.input}
    text = refusal(network([refused], outputs, used, kept), tmp_path)
    assert expected in text


def test_import_names_an_output_that_tvms_converter_does_not_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_importer, "CONVERTERS", {})
    pool = node("MaxPool", "x", to="y places", kernel_shape=[2, 2], name="pool")
    assert (
        "operator MaxPool of node 'pool' is not supported in this form: "
        "TVM's converter does not give its output 'places'"
    ) in refusal(network([pool], ["y", "places:int64"], IMAGE), tmp_path)


def test_import_refuses_what_a_converter_does_not_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = {
        "attribute alpha=0.5": node("Celu", "x", alpha=0.5, name="soft"),
        "input 'B'": node("MatMul", "x", "w", name="soft"),
    }
    ignorant = {name: lambda builder, inputs, *rest: inputs[0] for name in ("Celu", "MatMul")}
    monkeypatch.setattr(onnx_importer, "CONVERTERS", ignorant)
    for expected, form in forms.items():
        weights = {"w": drawn(8, 8)} if "w" in form.input else {}
        assert expected in refusal(network([form], ["y"], ROWS, weights), tmp_path)
    # An attribute that says what is meant anyhow changes nothing.
    plain = network([node("Celu", "x", alpha=1.0)], ["y"], ROWS)
    import_model(save(plain, tmp_path / "plain.onnx"), {}, tmp_path)


def test_import_refuses_a_converter_that_gives_another_type_than_onnx_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"Celu": lambda builder, inputs, *rest: relax.op.astype(inputs[0], "float64")}
    monkeypatch.setattr(onnx_importer, "CONVERTERS", wrong)
    text = refusal(network([node("Celu", "x", name="soft")], ["y"], ROWS), tmp_path)
    assert "makes its output 'y' float64[3, 8], expected float32[3, 8]" in text


def failure(model: onnx.ModelProto, folder: Path) -> str:
    """What a network is said to fail on when it is fused and compiled."""
    imported: Imported = import_model(save(model, folder / "model.onnx"), {}, folder)
    target = tvm.target.Target({"kind": "llvm"})
    with pytest.raises(CellFailure) as error, blaming(imported, load_target("x86-host").tvm):
        machine_of(fuse(canonicalise(imported.module), "full"), target, 1)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_operator_without_a_kernel_is_named_with_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(legalise.LEGALISATIONS, "relax.topk")
    nodes = [node("Relu", "x", to="t"), node("TopK", "t", "k", to="y z", name="best")]
    model = network(nodes, ["y", "z:int64"], ROWS, {"k": np.array([3])})
    assert "operator TopK of node 'best' cannot be compiled: TVM has no kernel" in failure(
        model, tmp_path
    )


def test_operator_that_tvm_fails_on_is_named_with_its_node_and_without_tvms_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        return builder.call_te(topi.reshape, call.args[0], "no shape")

    monkeypatch.setitem(legalise.LEGALISATIONS, "relax.sign", fails)
    nodes = [node("Relu", "x", to="t", name="first"), node("Sign", "t", name="second")]
    found = failure(network(nodes, ["y"], ROWS), tmp_path)
    assert found == (
        "operator Sign of node 'second' cannot be compiled: TVM fails on an operator of this form"
    )


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("keep", [0, 1])
def test_mean_of_integers_is_one(tmp_path: Path, dtype: str, keep: int) -> None:
    x = np.array([[-1, -2, -4], [5, 6, 8]], dtype)
    step = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=keep)
    model = network([step], [f"y:{dtype}"], {"x": x})
    assert_same(computed(model, {"x": x}, tmp_path), reference(model, {"x": x}))


def test_addend_of_a_product_counts_for_nothing_where_its_factor_is_zero(tmp_path: Path) -> None:
    feeds = {"a": np.ones((2, 3), np.float32)}
    weights = {"b": np.ones((3, 4), np.float32), "c": np.full(4, np.nan, np.float32)}
    model = network(
        [helper.make_node("Gemm", ["a", "b", "c"], ["y"], beta=0.0)], ["y"], feeds, weights
    )
    assert_same(computed(model, feeds, tmp_path), [np.full((2, 4), 3, np.float32)])


@pytest.mark.parametrize("size", [(4, 5), (4, 7), (6, 5)], ids=str)
def test_region_is_not_cropped_along_an_axis_whose_size_stays(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    feeds = {"x": np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)}
    weights = {
        "r": np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.3], np.float32),
        "n": np.array([1, 1, *size]),
    }
    region = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 5.0}
    nodes = [
        helper.make_node("Resize", ["x", "r", "", "n"], [mode], mode=mode, **region)
        for mode in ("nearest", "linear", "cubic")
    ]
    model = network(nodes, ["nearest", "linear", "cubic"], feeds, weights)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_sign_of_numbers_that_have_none(tmp_path: Path, dtype: str) -> None:
    feeds = {"x": np.array([0, 1, 200], dtype)}
    model = network([node("Sign", "x")], [f"y:{dtype}"], feeds)
    assert_same(computed(model, feeds, tmp_path), [np.array([0, 1, 1], dtype)])


def test_padding_is_exact_where_a_double_is_not(tmp_path: Path) -> None:
    feeds = {"x": np.arange(6).reshape(2, 3)}
    weights = {"pads": np.array([1, 0, 0, 2]), "value": np.array(2**60 + 1)}
    model = network([node("Pad", "x", "pads", "value")], ["y:int64"], feeds, weights)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


@pytest.mark.parametrize(
    ("step", "output", "said"),
    [
        (
            helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT8E4M3FN),
            "y:float8e4m3fn",
            "is float8",
        ),
        (helper.make_node("Slice", ["x", "s", "e"], ["y"]), "y", "output 'y' has no elements"),
    ],
    ids=["bytes", "nothing"],
)
def test_results_that_cannot_be_are_refused(
    tmp_path: Path, step: onnx.NodeProto, output: str, said: str
) -> None:
    feeds = {"x": np.ones((7, 9), np.float32)}
    weights = {"s": np.array([5]), "e": np.array([2])}
    model = network([step], [output], feeds, weights)
    with pytest.raises(InputError, match=said):
        computed(model, feeds, tmp_path)
