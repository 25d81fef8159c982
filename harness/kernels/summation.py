"""Sums of many floats, cut in parts.

A sum of n floats, added one after the other, may be off by n roundings of its value; a sum
of √n sums of √n floats each by 2 √n (N. J. Higham, Accuracy and Stability of Numerical Algorithms,
2nd edition, 2002, section 4.2). Means over images and softmaxes over vocabularies have thousands of
terms of one sign, whose errors add up.

Sums of products, as of convolutions and matrix products, are left whole: their terms have both
signs, and layouts, packed weights and tuning depend on the form of their loops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    SBlockRealize,
    TensorLoad,
    structural_equal,
    structural_map,
    tirx,
    tvm,
)
from harness.kernels.blocks import divisors, loads, variables, walks_along

_MOST_TERMS = 128
"""How many floats are added one after the other."""
_BESIDE = (16, 32, 64, 8)
"""How many neighbours in memory begin sums of their own: whole vectors of most processors."""
_AS_GOOD = 4
"""How many times as many parts as are best, or as few, are as good where they are of one size."""
_KEPT, _SUMMED = 0, 2
_PART = "layeredge.part_of_sum"


def cut_sums(module: tvm.IRModule) -> tvm.IRModule:
    """The same kernels, except that sums of more than 128 floats are sums of shorter ones."""
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            result.update_func(variable, _with_short_sums(function))
    return result


def is_part(block: SBlock) -> bool:
    """Whether a block computes parts of a sum that was cut, one for each element that it writes."""
    return _PART in block.annotations


def _with_short_sums(function: PrimFunc) -> PrimFunc:
    root = getattr(function.body, "block", None)
    if root is None:
        return function
    statements, buffers = [], list(root.alloc_buffers)
    for statement in root.body.seq if isinstance(root.body, tirx.SeqStmt) else [root.body]:
        whole = _sum_of(statement)
        if whole is None or whole.terms <= _MOST_TERMS:
            statements.append(statement)
            continue
        sums = list(_cut(whole))
        statements += [each.statement() for each in sums]
        buffers += [each.buffer for each in sums[:-1]]
    if len(buffers) == len(root.alloc_buffers):
        return function
    block = SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        tirx.SeqStmt(statements),
        root.init,
        buffers,
        root.match_buffers,
        root.annotations,
    )
    return function.with_body(SBlockRealize([], function.body.predicate, block))


@dataclass(frozen=True)
class _Sum:
    """A block that sums `term` over its axes `summed`, for each place of the `kept` ones, into
    `buffer` at `indices`."""

    name: str
    kept: tuple[Any, ...]
    summed: tuple[Any, ...]
    buffer: Any
    indices: tuple[Any, ...]
    term: Any
    annotations: Mapping[str, Any]
    cuts: int = 0
    """How many times it was cut."""

    @property
    def terms(self) -> int:
        return math.prod(map(_extent, self.summed))

    def statement(self) -> Any:
        """The loops that compute it."""
        axes = [*self.kept, *self.summed]
        value = tirx.BufferLoad(self.buffer, self.indices)
        zero = tirx.const(0, self.buffer.dtype)
        block = SBlock(
            axes,
            [_region(load) for load in loads(self.term)],
            [_region(value)],
            self.name,
            tirx.BufferStore(self.buffer, value + self.term, self.indices),
            tirx.BufferStore(self.buffer, zero, self.indices),
            annotations=self.annotations,
        )
        counters = [tirx.Var(f"{axis.var.name}_", axis.var.ty) for axis in axes]
        body = SBlockRealize(counters, True, block)
        for counter, axis in reversed(list(zip(counters, axes, strict=True))):
            body = tirx.For(counter, 0, axis.dom.extent, tirx.ForKind.SERIAL, body)
        return body


def _sum_of(statement: Any) -> _Sum | None:
    """The sum that a statement computes whose terms are values of one tensor, or a function of
    them; None for any other statement."""
    counters = []
    while isinstance(statement, tirx.For):
        counters.append(statement.loop_var)
        statement = statement.body
    if not isinstance(statement, SBlockRealize) or len(counters) != len(statement.iter_values):
        return None
    block = statement.block
    store, init = block.body, block.init
    if not (
        all(map(_same, counters, statement.iter_values))
        and isinstance(store, tirx.BufferStore)
        and isinstance(init, tirx.BufferStore)
        and isinstance(init.value, tirx.FloatImm)
        and init.value.value == 0
        and isinstance(store.value, tirx.Add)
        and isinstance(store.value.a, TensorLoad)
        and store.value.a.source.same_as(store.buffer)
    ):
        return None
    found = _Sum(
        block.name_hint,
        tuple(axis for axis in block.iter_vars if axis.iter_type == _KEPT),
        tuple(axis for axis in block.iter_vars if axis.iter_type == _SUMMED),
        store.buffer,
        tuple(store.indices),
        store.value.b,
        block.annotations,
    )
    static = all(isinstance(axis.dom.extent, tirx.IntImm) for axis in block.iter_vars)
    return found if static and _source(found) is not None else None


def _source(of: _Sum) -> Any:
    """The load of the one tensor whose values a sum is of; None where they are of several."""
    summed = [axis.var for axis in of.summed]
    first, *rest = [load for load in loads(of.term) if _depends(load.indices, summed)] or [None]
    alike = all(
        load.source.same_as(first.source)
        and all(map(structural_equal, load.indices, first.indices))
        for load in rest
    )
    return first if first is not None and alike and not any(map(loads, first.indices)) else None


def _cut(whole: _Sum) -> Iterator[_Sum]:
    """The sums that a sum is computed by; each reads the results of those before it."""
    if whole.terms <= _MOST_TERMS:
        yield whole
        return
    for each in _halves(whole):
        yield from _cut(each)


def _halves(whole: _Sum) -> tuple[_Sum, _Sum]:
    """Sums of parts of a sum, and the sum of those: of neighbours in memory, which run beside each
    other in vectors, or else of consecutive terms."""
    axes = [axis for axis in whole.summed if _extent(axis) > 1]
    alone, source = len(axes) == 1, _source(whole)
    for axis in axes:
        count = _beside(_extent(axis), whole.terms, alone)
        if count and source is not None and walks_along(source.indices[-1], axis.var):
            return _split(whole, axis, count, beside=True)
    longest = max(axes, key=_extent)
    return _split(whole, longest, _parts(_extent(longest), whole.terms, alone), beside=False)


def _beside(extent: int, terms: int, alone: bool) -> int | None:
    """Into how many sums of neighbours to cut a loop of some extent, in a sum of so many terms;
    None where it cannot be cut. The remainder is a term of the whole sum, where the loop is its
    only one."""
    if extent <= max(_BESIDE):
        return extent
    dividing = [count for count in _BESIDE if extent % count == 0]
    if dividing:
        return next((n for n in dividing if terms <= n * _MOST_TERMS), max(dividing))
    if not alone:
        return None
    return next((n for n in _BESIDE if terms <= n * _MOST_TERMS), max(_BESIDE))


def _parts(extent: int, terms: int, alone: bool) -> int:
    """Into how many parts to cut the longest loop, of some extent, of a sum of so many terms."""
    if max(extent, terms // extent) <= _MOST_TERMS:
        return extent
    best = math.isqrt(terms)

    def distance(parts: int) -> float:
        return abs(math.log(parts / best))

    equal = min(divisors(extent), key=distance)
    if distance(equal) <= math.log(_AS_GOOD):
        return equal
    return best if alone else extent


def _split(whole: _Sum, axis: Any, count: int, *, beside: bool) -> tuple[_Sum, _Sum]:
    """A sum cut in `count` parts of one length along an axis, and the sum of those and of the terms
    that are left."""
    length, rest = divmod(_extent(axis), count)
    kind = "neighbours" if beside else "parts"
    at = _axis(f"{axis.var.name}_{kind}", axis, count, _KEPT)
    along = _axis(axis.var.name, axis, length, _SUMMED)
    within = along.var * count + at.var if beside else at.var * length + along.var
    others = [each for each in (*whole.kept, *whole.summed) if not each.same_as(axis)]
    renamed = [_axis(each.var.name, each, _extent(each), int(each.iter_type)) for each in others]
    kept = renamed[: len(whole.kept)]
    stored = [kept[each] for each in _order(whole)]
    indices = [*stored, at] if beside else [at, *stored]
    name = f"{whole.name}_{kind}{whole.cuts or ''}"
    part = _Sum(
        name,
        (at, *kept),
        (*renamed[len(kept) :], along),
        tirx.decl_buffer([*map(_extent, indices)], str(whole.buffer.dtype), name, layout=None),
        tuple(each.var for each in indices),
        _substituted(
            whole.term,
            [
                (axis.var, within),
                *((old.var, new.var) for old, new in zip(others, renamed, strict=True)),
            ],
        ),
        {_PART: True},
    )
    each = _axis(f"{axis.var.name}_{kind}", axis, count + rest, _SUMMED)
    clamped = tirx.Min(each.var, tirx.const(count - 1, each.var.ty)) if rest else each.var
    read = [whole.kept[each].var for each in _order(whole)]
    term = tirx.BufferLoad(part.buffer, [*read, clamped] if beside else [clamped, *read])
    if rest:
        # Other axes, if there are any, have one term.
        single = [(other.var, tirx.const(0, other.var.ty)) for other in whole.summed]
        remaining = _substituted(whole.term, [(axis.var, each.var + count * (length - 1)), *single])
        term = tirx.if_then_else(each.var < count, term, remaining)
    return part, replace(whole, summed=(each,), term=term, cuts=whole.cuts + 1)


def _order(of: _Sum) -> list[int]:
    """Its kept axes in the order in which its results are in memory."""

    def place(at: int) -> int:
        variable = of.kept[at].var
        return next((n for n, index in enumerate(of.indices) if index.same_as(variable)), -1)

    return sorted(range(len(of.kept)), key=place)


def _axis(name: str, like: Any, extent: int, kind: int) -> Any:
    variable = tirx.Var(name, like.var.ty)
    bounds = tvm.ir.Range(tirx.const(0, variable.ty), tirx.const(extent, variable.ty))
    return tirx.IterVar(bounds, variable, kind)


def _extent(axis: Any) -> int:
    return int(axis.dom.extent)


def _substituted(expr: Any, values: Sequence[tuple[Any, Any]]) -> Any:
    def value(variable: Any) -> Any:
        return next((new for old, new in values if variable.same_as(old)), variable)

    return structural_map(expr, (tvm.ir.Var, value))


def _depends(indices: Any, on: list[Any]) -> bool:
    return any(each.same_as(other) for at in indices for each in variables(at) for other in on)


def _region(load: Any) -> Any:
    points = [tvm.ir.Range.from_min_extent(index, 1) for index in load.indices]
    return tirx.BufferRegion(load.source, points)


def _same(one: Any, other: Any) -> bool:
    return bool(one.same_as(other))
