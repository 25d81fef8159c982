"""Differences, comparisons and products of floats in one kernel are those of IEEE 754."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_nodes import computed, network

from harness.compiler.api import Analyzer, structural_equal, structural_mutate, tirx
from harness.kernels.shielded import HIDING, SHOWING, register_shields
from harness.specs.sweep import FusionLevel

_EDGES = [0, -0.0, 1, -1, 3.5, 1e-3, 0.1234567, -2e6, 3e38, np.inf, -np.inf, np.nan]
_X, _Y = (np.ascontiguousarray(grid) for grid in np.meshgrid(*2 * [np.array(_EDGES, np.float32)]))

# Nodes as `result = Operator(arguments)`, the types of results that are not float32, and numbers.
_CASES = {
    "a sum less a number": "a=Add(x,million) o=Sub(a,million)",
    "a sum less its second": "a=Add(x,y) o=Sub(a,y)",
    "a sum less its first": "a=Add(x,y) o=Sub(a,x)",
    "a number less a sum of it": "a=Add(x,y) o=Sub(y,a)",
    "a number less itself": "o=Sub(x,x)",
    "a selection less one of both": "c=Less(x,y) a=Where(c,x,y) o=Sub(a,y)",
    "a maximum less itself": "a=Relu(x) b=Add(a,x) o=Sub(b,a)",
    "equal to itself": "c=Equal(x,x) o=Where(c,x,y)",
    "not less": "c=Less(x,y) d=Not(c) o=Where(d,x,y)",
    "not greater": "c=Greater(x,y) d=Not(c) o=Where(d,x,y)",
    "not equal": "c=Equal(x,y) d=Not(c) o=Where(d,x,y)",
    "less, or not less": "c=Less(x,y) d=GreaterOrEqual(x,y) e=Or(c,d) o=Where(e,x,y)",
    "times zero": "o=Mul(x,zero)",
    "zero times": "o=Mul(zero,x)",
    "by zero": "o=Div(x,zero)",
    "by negative zero": "a=Neg(zero) o=Div(x,a)",
    "zero by": "o=Div(zero,x)",
    "a total times zero": "r=ReduceSum(x) a=Mul(r,zero) o=Add(a,x)",
    "by itself": "o=Div(x,x)",
    "to bfloat16 and back": "a=Cast(x) b=Cast(a) o=Mul(b,three)",
    "zero added, and one by that": "a=Add(x,zero) b=Add(zero,y) o=Div(a,b)",
    "an array of zeros added": "a=Add(x,zeros) o=Div(one,a)",
    "zero taken away": "a=Sub(x,zero) o=Div(one,a)",
}
_NUMBERS = {"million": 1e6, "zero": 0.0, "one": 1.0, "three": 3.0, "zeros": [0.0] * 12}
_KEYWORDS = {
    "a=Cast(x)": {"to": onnx.TensorProto.BFLOAT16},
    "b=Cast(a)": {"to": onnx.TensorProto.FLOAT},
    "r=ReduceSum(x)": {"keepdims": 0},
}


def _model(text: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    nodes, read = [], set()
    for node in text.split():
        result, _, rest = node.partition("=")
        operator, _, arguments = rest.rstrip(")").partition("(")
        names = arguments.split(",")
        read |= set(names)
        nodes.append(helper.make_node(operator, names, [result], **_KEYWORDS.get(node, {})))
    feeds = {name: array for name, array in (("x", _X), ("y", _Y)) if name in read}
    numbers = {name: np.array(_NUMBERS[name], np.float32) for name in read & set(_NUMBERS)}
    return network(nodes, ["o"], feeds, numbers), feeds


@pytest.mark.parametrize("level", ["none", "full"])
@pytest.mark.parametrize("case", _CASES)
def test_arithmetic_is_ieee(case: str, level: FusionLevel, tmp_path: Path) -> None:
    model, feeds = _model(_CASES[case])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (right,) = session.run(None, feeds)
    (found,) = computed(model, feeds, tmp_path, level, here=True)
    np.testing.assert_array_equal(found, right)


_variables = {name: tirx.Var(name, "float32") for name in "xyz"}
_BINARY = {
    tirx.Add: np.add,
    tirx.Sub: np.subtract,
    tirx.Mul: np.multiply,
    tirx.Max: np.maximum,
    tirx.Min: np.minimum,
}
_COMPARISONS = {
    tirx.LT: np.less,
    tirx.LE: np.less_equal,
    tirx.GT: np.greater,
    tirx.GE: np.greater_equal,
    tirx.EQ: np.equal,
    tirx.NE: np.not_equal,
}


def _floats() -> st.SearchStrategy:
    leaves = st.sampled_from([*_variables.values(), *(tirx.const(n, "float32") for n in (1, 7))])

    def larger(inner: st.SearchStrategy) -> st.SearchStrategy:
        pairs = st.tuples(inner, inner)
        conditions = st.builds(
            lambda kind, two: kind(*two), st.sampled_from([*_COMPARISONS]), pairs
        )
        denied = conditions | conditions.map(tirx.Not)
        return st.builds(lambda kind, two: kind(*two), st.sampled_from([*_BINARY]), pairs) | (
            st.builds(tirx.Select, denied, inner, inner)
        )

    return st.recursive(leaves, larger, max_leaves=8)


def _evaluated(expr: object, values: dict[str, np.float32]) -> object:
    kind = type(expr)
    if kind is tirx.Var:
        return values[expr.name]  # type: ignore[attr-defined]
    if kind in (tirx.FloatImm, tirx.IntImm):
        return np.float32(expr.value)  # type: ignore[attr-defined]
    if kind is tirx.Not:
        return not _evaluated(expr.a, values)  # type: ignore[attr-defined]
    if kind is tirx.Select:
        chosen = _evaluated(expr.condition, values)  # type: ignore[attr-defined]
        return _evaluated(expr.true_value if chosen else expr.false_value, values)  # type: ignore[attr-defined]
    function = {**_BINARY, **_COMPARISONS}[kind]
    return function(_evaluated(expr.a, values), _evaluated(expr.b, values))  # type: ignore[attr-defined]


@settings(max_examples=300, deadline=None)
@given(expr=_floats(), values=st.tuples(*3 * [st.sampled_from(_EDGES)]))
def test_simplifier_changes_no_value(expr: object, values: tuple[float, ...]) -> None:
    register_shields()
    hidden = Analyzer().simplify(structural_mutate(expr, HIDING))
    shown = structural_mutate(hidden, SHOWING)
    named = dict(zip("xyz", map(np.float32, values), strict=True))
    with np.errstate(all="ignore"):
        right, found = _evaluated(expr, named), _evaluated(shown, named)
    np.testing.assert_array_equal(found, right)


def test_simplifier_would_change_values() -> None:
    """What the functions are for: when this fails, they can go."""
    x, y = _variables["x"], _variables["y"]
    assert structural_equal(Analyzer().simplify((x + y) - y), x)
