"""The elementary functions against double precision, over the floats that matter and beyond."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special

from harness.compiler.api import Schedule, te, tirx, tvm
from harness.kernels.lowering import use_our_lowering

COUNT = 4096
NAN, INFINITY = float("nan"), float("inf")
ENDS = [NAN, -INFINITY, -1e30, -1e-30, -0.0, 0.0, 1e-30, 1e-4, 1e30, INFINITY]
EXPONENTIALS = {  # around the ends of what a result can be
    "float32": [88.72, 88.7228, 88.73, 89.5, -87.3, -87.4, -95.0, -103.9, -104.1, -1000.0],
    "float64": [709.7, 709.782, 709.79, 711.0, -708.3, -708.5, -730.0, -745.1, -745.2, -1e4],
}
Function = Callable[[tvm.ir.Expr], tvm.ir.Expr]


def inputs(dtype: str) -> np.ndarray:
    """Both ends, both signs, a fine grid where functions bend, and a coarse one over all."""
    special_ones = [*ENDS, *EXPONENTIALS[dtype]]
    reach = 88.7 if dtype == "float32" else 709.7
    coarse = np.linspace(-1.2 * reach, reach, COUNT // 2)
    fine = np.linspace(-12, 12, COUNT - len(special_ones) - len(coarse))
    return np.concatenate([special_ones, coarse, fine]).astype(dtype)


def compiled(
    function: Callable[..., tvm.ir.Expr], arguments: int, dtype: str, target: dict[str, str]
) -> tvm.runtime.Executable:
    """A kernel that computes a function of so many arguments in vectors of 8."""
    use_our_lowering()
    sources = [te.placeholder((COUNT,), dtype, name=f"source{at}") for at in range(arguments)]
    result = te.compute((COUNT,), lambda at: function(*(s[at] for s in sources)), name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([*sources, result])}))
    _, inner = schedule.split(schedule.get_loops("result")[0], [None, 8])
    schedule.vectorize(inner)
    return tvm.compile(schedule.mod, target=tvm.target.Target(target))


def computed(function: Callable[..., tvm.ir.Expr], *given: np.ndarray) -> np.ndarray:
    """What a compiled kernel gives, which calls nothing of the C library."""
    executable = compiled(function, len(given), str(given[0].dtype), {"kind": "llvm"})
    code = executable.mod.inspect_source("ll")
    for name in ("exp", "tanh", "erf", "sinh", "cosh", "fmax", "fmin"):
        assert not any(f"@{name}{end}(" in code for end in ("", "f"))
    found = tvm.runtime.tensor(np.empty_like(given[0]))
    executable.jit()["main"](*map(tvm.runtime.tensor, given), found)
    return found.numpy()


@pytest.mark.parametrize(
    ("function", "exact", "single", "double"),
    [
        (tirx.tanh, np.tanh, 4e-7, 4e-16),
        (tirx.erf, special.erf, 1e-7, 4e-16),
        (tirx.sigmoid, special.expit, 3e-7, 4e-16),
    ],
)
def test_bounded_functions_are_exact_to_their_stated_error(
    function: Function,
    exact: Callable[[np.ndarray], np.ndarray],
    single: float,
    double: float,
) -> None:
    for dtype, tolerance in (("float32", single), ("float64", double)):
        x = inputs(dtype)
        np.testing.assert_allclose(
            computed(function, x), exact(x.astype(np.float64)), rtol=0, atol=tolerance
        )


@pytest.mark.parametrize(
    ("function", "exact"), [(tirx.exp, np.exp), (tirx.sinh, np.sinh), (tirx.cosh, np.cosh)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 4e-7), ("float64", 1e-15)])
def test_exponentials_are_exact_up_to_infinity_and_down_to_the_last_denormal_number(
    function: Function,
    exact: Callable[[np.ndarray], np.ndarray],
    dtype: str,
    tolerance: float,
) -> None:
    x = inputs(dtype)
    with np.errstate(all="ignore"):
        right = exact(x.astype(np.longdouble)).astype(dtype)
    step = float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(computed(function, x), right, rtol=tolerance, atol=step)


@pytest.mark.parametrize(("extremum", "right"), [(tirx.max, np.maximum), (tirx.min, np.minimum)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_extrema_keep_nan_whichever_operand_it_is(
    extremum: Callable[[tvm.ir.Expr, object], tvm.ir.Expr], right: np.ufunc, dtype: str
) -> None:
    with np.errstate(all="ignore"):
        first = np.resize(np.array([NAN, 1, -2, INFINITY, -INFINITY, 3, NAN], dtype), COUNT)
        second = np.resize(np.array([1, NAN, 2, 0.5], dtype), COUNT)
    np.testing.assert_array_equal(computed(extremum, first, second), right(first, second))
    limit = tirx.const(1.5, dtype)
    for bounded in (lambda x: extremum(x, limit), lambda x: extremum(limit, x)):
        np.testing.assert_array_equal(
            computed(bounded, first), right(first, np.asarray(1.5, dtype))
        )


@pytest.mark.parametrize(
    ("target", "instruction"),
    [
        ({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}, "vmaxps"),
        ({"kind": "llvm", "mtriple": "aarch64-linux-gnu"}, "fmax"),
    ],
)
def test_a_lower_bound_that_keeps_nan_is_one_instruction(
    target: dict[str, str], instruction: str
) -> None:
    executable = compiled(lambda x: tirx.max(x, tirx.const(0.0, "float32")), 1, "float32", target)
    code = executable.mod.inspect_source("s")
    assert instruction in code
    assert not any(other in code for other in ("vblendv", "vcmp", "fcm", "bsl\t", "bif\t"))
