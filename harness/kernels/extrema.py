"""Maximum and minimum of floats that keep NaN, as ONNX Runtime, PyTorch and IEEE 754's `maximum`.

TVM compiles `max(a, b)` to `a > b ? a : b`, which loses a NaN in `a`; the operators that are built
of it (Relu, Clip, Min, Max, reductions, pooling) lost it too. The rewrite here is TVM's very last
lowering, so that passes, schedules and cost models see a plain maximum.

Where one operand is a constant, its place in the comparison decides, and x86's `max` instruction is
exactly that: NaN costs nothing. ARM's instruction keeps NaN by itself. Between two variables it
takes a comparison and a selection more (`benchmarks/elementary_cost.py`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.kernels.arithmetic import Value, element, named
from harness.tvm_api import PrimFunc, structural_map, tirx, triple_of, tvm, wrap_finalization

_ARM = ("aarch64", "arm", "thumb")
_INTRINSICS: dict[type, str] = {tirx.Max: "llvm.maximum", tirx.Min: "llvm.minimum"}
_COMPARISONS: dict[type, Any] = {tirx.Max: tirx.GT, tirx.Min: tirx.LT}


@cache  # a pipeline is wrapped once
def keep_nan() -> None:
    """Have every kernel that this process compiles keep NaN in maxima and minima."""
    wrap_finalization(lambda: tirx.transform.prim_func_pass(_rewritten, opt_level=0))


def _rewritten(function: PrimFunc, module: tvm.IRModule, context: Any) -> PrimFunc:
    target = (function.attrs or {}).get("target")
    triple = (triple_of(target) or "") if target is not None else ""
    rule = _by_intrinsic if triple.startswith(_ARM) else _by_selection
    body = structural_map(function.body, ((tirx.Max, tirx.Min), rule))
    return function.with_body(body)


def _by_intrinsic(extremum: Value) -> Value:
    if not element(extremum).startswith("float"):
        return extremum
    return tirx.call_llvm_pure_intrin(
        str(extremum.ty), _INTRINSICS[type(extremum)], extremum.a, extremum.b
    )


def _by_selection(extremum: Value) -> Value:
    if not element(extremum).startswith("float"):
        return extremum
    beyond = _COMPARISONS[type(extremum)]
    first, second = extremum.a, extremum.b
    if _is_number(second):
        first, second = second, first
    if _is_number(first):
        return named("x", second, lambda x: tirx.Select(beyond(first, x), first, x))
    return named(
        "a",
        first,
        lambda a: named(
            "b",
            second,
            # In a reduction `a` is what was found before: whether `b` is NaN does not wait for it.
            # TVM compiles `b != b` to a comparison that is false for NaN.
            lambda b: tirx.Select(tirx.EQ(b, b), tirx.Select(beyond(b, a), b, a), b),
        ),
    )


def _is_number(value: Value) -> bool:
    """Whether a value is a constant other than NaN."""
    if isinstance(value, tirx.Broadcast):
        value = value.value
    return isinstance(value, tirx.FloatImm) and value.value == value.value
