"""Masks of bits, written as the selections that they stand for.

`passes.padding` pads by `data[index] & (inside ? -1 : 0)`, because TVM's simplifier would remove
the limits of an index from `select(inside, data[index], 0)`. AVX-512 loads under a mask at no cost,
so that the selection is quicker there (`benchmarks/padding_cost.py`); with AVX2 the mask is. The
rewrite here is TVM's very last lowering: the simplifier does not see the selections.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from harness.compiler.api import (
    PrimFunc,
    features_of,
    structural_map,
    structural_walk,
    tirx,
)
from harness.kernels.arithmetic import Value, constant


def select_for_masks(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered kernel that selects by a condition, if it is for AVX-512, where it has a mask of
    all bits or none."""
    target = (function.attrs or {}).get("target")
    if target is None or "avx512f" not in features_of(target):
        return function
    bound: list[Any] = []
    structural_walk(function.body, (tirx.Bind, bound.append))
    masks = {each.var for each in bound if _condition(each.value) is not None}

    def selected(product: Value) -> Value:
        condition = _condition(product.b, masks)
        if condition is None:
            return product
        return tirx.Select(condition, product.a, constant(0, product))

    return function.with_body(structural_map(function.body, (tirx.BitwiseAnd, selected)))


def _condition(mask: Value, masks: Set[Any] = frozenset()) -> Value | None:
    """Where a mask has all bits, if it has either all or none; `masks` are variables that are such
    masks."""
    if isinstance(mask, tirx.Broadcast):
        condition = _condition(mask.value, masks)
        return None if condition is None else tirx.Broadcast(condition, mask.lanes)
    if isinstance(mask, tirx.Var):
        return tirx.NE(mask, constant(0, mask)) if mask in masks else None
    if isinstance(mask, tirx.Select) and _is(mask.true_value, -1) and _is(mask.false_value, 0):
        return mask.condition
    return None


def _is(value: Value, number: int) -> bool:
    """Whether a value is a number in each of its lanes."""
    if isinstance(value, tirx.Broadcast):
        value = value.value
    return isinstance(value, tirx.IntImm) and int(value.value) == number
