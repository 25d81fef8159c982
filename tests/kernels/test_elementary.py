"""The elementary functions against double precision, over the floats that matter and beyond."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from harness.kernels import elementary
from harness.tvm_api import Schedule, te, tirx, tvm

COUNT = 4096
ENDS = [-np.inf, -1e30, -100.0, -88.0, -1e-30, -0.0, 0.0, 1e-30, 1e-4, 88.0, 100.0, 1e30, np.inf]


def inputs() -> np.ndarray:
    """Both ends, both signs, and a fine grid between."""
    grid = np.linspace(-12, 12, COUNT - len(ENDS))
    return np.concatenate([ENDS, grid]).astype(np.float32)


def computed(function: Callable[[tvm.ir.Expr], tvm.ir.Expr]) -> np.ndarray:
    """What a compiled kernel gives, in vectors for most inputs and one by one for the rest."""
    elementary.use_vector_arithmetic()
    source = te.placeholder((COUNT,), name="source")
    result = te.compute((COUNT,), lambda at: function(source[at]), name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    _, inner = schedule.split(schedule.get_loops("result")[0], [None, 8])
    schedule.vectorize(inner)
    compiled = tvm.compile(schedule.mod, target=tvm.target.Target("llvm"))
    text = compiled.mod.inspect_source("ll") if hasattr(compiled, "mod") else ""
    assert not any(f"call float @{name}f(" in text for name in ("exp", "tanh", "erf"))
    found = tvm.runtime.tensor(np.empty(COUNT, np.float32))
    compiled.jit()["main"](tvm.runtime.tensor(inputs()), found)
    return found.numpy()


@pytest.mark.parametrize(
    ("function", "exact", "tolerance"),
    [
        (tirx.tanh, np.tanh, 4e-7),
        (tirx.erf, special.erf, 5e-7),
        (tirx.sigmoid, special.expit, 3e-7),
    ],
)
def test_bounded_functions_are_exact_to_their_stated_error(
    function: Callable[[tvm.ir.Expr], tvm.ir.Expr],
    exact: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
) -> None:
    assert np.abs(computed(function) - exact(inputs().astype(np.float64))).max() < tolerance


def test_exponential_is_exact_to_its_stated_error_when_result_is_a_normal_number() -> None:
    x = inputs().astype(np.float64)
    normal = (x > -87) & (x < 88.3)
    found = computed(tirx.exp)
    assert np.abs(found[normal] / np.exp(x[normal]) - 1).max() < 2e-7
    assert np.all(found[x < -87] < 2e-38) and np.all(found[x > 89] > 2e38)


def test_double_precision_is_left_to_the_c_library() -> None:
    elementary.use_vector_arithmetic()
    source = te.placeholder((8,), dtype="float64", name="source")
    result = te.compute((8,), lambda at: tirx.exp(source[at]), name="result")
    module = tvm.IRModule({"main": te.create_prim_func([source, result])})
    given = np.linspace(-3, 3, 8)
    found = tvm.runtime.tensor(np.empty(8))
    tvm.compile(module, target=tvm.target.Target("llvm")).jit()["main"](
        tvm.runtime.tensor(given), found
    )
    np.testing.assert_allclose(found.numpy(), np.exp(given), rtol=1e-15)
