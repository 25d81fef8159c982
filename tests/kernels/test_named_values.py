"""Functions of one another compile in steps, and what they load stays where its condition is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compiler.api import Schedule, te, tirx, tvm
from harness.devices.memory.access_check import access_outside, on_arrays
from harness.kernels.lowering import use_our_lowering

COUNT, LANES = 64, 8
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf),
}


def kernel(value: Callable[[Any, Any], Any], vectors: bool = True) -> tvm.runtime.Executable:
    """A kernel whose elements are `value` of a tensor and of where they are."""
    use_our_lowering()
    source = te.placeholder((COUNT,), "float32", name="source")
    result = te.compute((COUNT,), lambda at: value(source, at), name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    if vectors:
        _, inner = schedule.split(schedule.get_loops("result")[0], [None, LANES])
        schedule.vectorize(inner)
    return tvm.compile(schedule.mod, target=tvm.target.Target("llvm"))


def nested(names: list[str]) -> Callable[[Any, Any], Any]:
    def value(source: Any, at: Any) -> Any:
        result = source[at] * tirx.const(1.0, "float32")
        for name in names:
            result = getattr(tirx, name)(tirx.const(0.25, "float32") - result)
        return result

    return value


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=1, max_size=6), st.booleans())
def test_functions_of_one_another_are_right(names: list[str], vectors: bool) -> None:
    shown = np.linspace(-2, 2, COUNT, dtype=np.float32)
    result = tvm.runtime.empty((COUNT,), "float32")
    kernel(nested(names), vectors)["main"](tvm.runtime.tensor(shown), result)
    expected = shown.astype(np.float64)
    for name in names:
        expected = FUNCTIONS[name](0.25 - expected)
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_code_grows_by_as_much_for_each_function(name: str) -> None:
    """It grew exponentially."""
    sizes = [len(kernel(nested([name] * n)).mod.inspect_source("ll")) for n in (4, 12, 20)]
    # LLVM unrolls short loops more often than long ones.
    assert sizes[2] - sizes[1] < 2 * (sizes[1] - sizes[0])


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("other", ["tanh", None])
def test_load_stays_where_its_condition_holds(other: str | None, vectors: bool) -> None:
    def value(source: Any, at: Any) -> Any:
        far = at * (1 << 20)  # only the first element is inside
        elsewhere = getattr(tirx, other)(source[at]) if other else source[at]
        return tirx.if_then_else(at < 1, tirx.exp(source[far]), elsewhere)

    shown = np.linspace(-1, 1, COUNT, dtype=np.float32)
    compiled = on_arrays(kernel(value, vectors)["main"])
    assert access_outside(compiled, [shown, np.empty_like(shown)]) is None
    result = tvm.runtime.empty((COUNT,), "float32")
    kernel(value, vectors)["main"](tvm.runtime.tensor(shown), result)
    expected = np.tanh(shown) if other else shown.copy()
    expected[0] = np.exp(shown[0])
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-6, atol=1e-6)
