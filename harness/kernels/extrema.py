"""Maximum and minimum of floats that keep NaN, as ONNX Runtime, PyTorch and IEEE 754's `maximum`.

TVM compiles `max(a, b)` to `a > b ? a : b`, which loses a NaN in `a`; the operators that are built
of it (Relu, Clip, Min, Max, reductions, pooling) lost it too. The rewrite here is TVM's very last
lowering, so that passes, schedules and cost models see a plain maximum.

Where one operand is a constant, its place in the comparison decides, and x86's `max` instruction is
exactly that: NaN costs nothing. ARM's instruction keeps NaN by itself. Between two variables it
takes a comparison and a selection more (`benchmarks/elementary_cost.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    is_processor,
    structural_map,
    tirx,
    triple_of,
)
from harness.kernels.arithmetic import Value, constant, element, named

_ARM = ("aarch64", "arm", "thumb")
_INTRINSICS: dict[type, str] = {tirx.Max: "llvm.maximum", tirx.Min: "llvm.minimum"}
_COMPARISONS: dict[type, Any] = {tirx.Max: tirx.GT, tirx.Min: tirx.LT}


def begin_infinite(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A scheduled kernel whose maxima begin with -∞, and minima with ∞: TVM has them begin with the
    least and the greatest finite number, which they then give for infinite values only. It knows
    the reductions of schedules by these, so that they stay until here; in those that go through the
    threads of a graphics processor they stay for good."""
    target = (function.attrs or {}).get("target")
    if target is None or not is_processor(target):
        return function
    return function.with_body(structural_map(function.body, (SBlock, _with_infinity)))


def _with_infinity(block: SBlock) -> SBlock:
    """A block, or the initialisation that a schedule made a block of its own."""
    if block.init is not None:
        if not isinstance(getattr(block.body, "value", None), (tirx.Max, tirx.Min)):
            return block
        return _replaced(block, block.body, _infinite(block.init))
    if block.name_hint.endswith("_init"):
        return _replaced(block, _infinite(block.body), None)
    return block


def _infinite(store: Any) -> Any:
    """A store of the least or the greatest finite number, with the infinity beyond it."""
    value = getattr(store, "value", None)
    literal = value.value if isinstance(value, tirx.Broadcast) else value
    if not isinstance(literal, tirx.FloatImm):
        return store
    dtype = element(literal)
    if not dtype.startswith("float") or abs(literal.value) != np.finfo(dtype).max:
        return store
    infinity = constant(float(np.copysign(np.inf, literal.value)), value)
    return tirx.BufferStore(store.buffer, infinity, store.indices)


def _replaced(block: SBlock, body: Any, init: Any) -> SBlock:
    return SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        body,
        init,
        block.alloc_buffers,
        block.match_buffers,
        block.annotations,
    )


def keep_nan(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered kernel whose maxima and minima of floats are NaN where an operand is."""
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
            # In a reduction `a` is the value so far: whether `b` is NaN does not wait for it.
            # TVM compiles `b != b` to a comparison that is false for NaN.
            lambda b: tirx.Select(tirx.EQ(b, b), tirx.Select(beyond(b, a), b, a), b),
        ),
    )


def _is_number(value: Value) -> bool:
    """Whether a value is a constant other than NaN."""
    if isinstance(value, tirx.Broadcast):
        value = value.value
    return isinstance(value, tirx.FloatImm) and value.value == value.value
