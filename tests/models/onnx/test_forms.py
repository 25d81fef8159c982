"""Operators that ONNX defines by others are written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_nodes import assert_same, computed, drawn, network
from small_models import onnx_model

_SHAPE = (1, 2, 4, 8)


def test_attention_without_an_optional_input_is_written_out(tmp_path: Path) -> None:
    """The inliner asks for the types of weights, and of inputs that are left out."""
    feeds = {"q": drawn(*_SHAPE), "v": drawn(*_SHAPE), "past": drawn(1, 2, 3, 8)}
    node = helper.make_node(
        "Attention", ["q", "k", "v", "", "past", "past"], ["y", "keys", "values"], is_causal=1
    )
    model = network([node], ["y", "keys", "values"], feeds, {"k": drawn(*_SHAPE)}, 24)
    assert_same(computed(model, feeds, tmp_path), ReferenceEvaluator(model).run(None, feeds))


def test_function_that_onnxruntime_cannot_write_out_is_written_out(tmp_path: Path) -> None:
    feeds = {"x": drawn(2, 8), "gate": drawn(2, 8)}
    model = network([helper.make_node("SwiGLU", ["x", "gate"], ["y"])], ["y"], feeds, opset=28)
    right = ReferenceEvaluator(model).run(None, feeds)
    assert_same(computed(model, feeds, tmp_path), right)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operator_of_another_domain_of_onnx_is_written_out(dtype: str, tmp_path: Path) -> None:
    feeds = {name: drawn(*_SHAPE).astype(dtype) for name in "qkv"}
    half = helper.make_tensor("half", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [], [0.5])
    scores = helper.make_graph(
        [
            helper.make_node("Constant", [], ["half"], value=half),
            helper.make_node("Mul", ["score", "half"], ["halved"]),
        ],
        "scores",
        [helper.make_tensor_value_info("score", half.data_type, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("halved", half.data_type, [1, 2, 4, 4])],
    )
    node = helper.make_node(
        "FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview", score_mod=scores
    )
    model = onnx_model(
        [node],
        [(name, half.data_type, _SHAPE) for name in "qkv"],
        [("y", half.data_type, _SHAPE)],
        opset=26,
        domains={"ai.onnx.preview": 1},
    )
    found = computed(model, feeds, tmp_path)
    products = np.einsum("bhqd,bhkd->bhqk", feeds["q"], feeds["k"]) / np.sqrt(8) / 2
    shares = np.exp(products - products.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    assert_same(found, [(shares @ feeds["v"]).astype(dtype)])
