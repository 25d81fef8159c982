"""Nodes of constants are evaluated within limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from harness.models.onnx.evaluation import MOST_MADE, evaluated

OPSETS = [helper.make_opsetid("", 17)]


def result(node: Any, **values: Any) -> dict[str, np.ndarray] | None:
    return evaluated(node, {name: np.asarray(value) for name, value in values.items()}, OPSETS)


def test_outputs_have_their_names() -> None:
    node = helper.make_node("Split", ["x"], ["a", "b"])
    found = result(node, x=np.arange(4.0))
    assert found is not None
    np.testing.assert_array_equal(found["a"], [0, 1])
    np.testing.assert_array_equal(found["b"], [2, 3])


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Add", ["x", "unknown"], ["y"]),
        helper.make_node("RandomUniform", [], ["y"], shape=[2]),
        helper.make_node("Relu", ["x"], ["y"], domain="com.example"),
        helper.make_node("Reshape", ["x", "x"], ["y"]),
        helper.make_node("Constant", [], ["y"], value_string="text"),
    ],
    ids=["unknown input", "random", "domain", "error", "text"],
)
def test_what_cannot_be_evaluated_gives_nothing(node: Any) -> None:
    assert result(node, x=np.arange(4.0)) is None


def test_result_that_is_far_larger_than_its_inputs_is_not_computed() -> None:
    node = helper.make_node("ConstantOfShape", ["shape"], ["y"])
    assert result(node, shape=[MOST_MADE]) is not None
    assert result(node, shape=[MOST_MADE + 1]) is None
    assert result(node, shape=[2**40]) is None
