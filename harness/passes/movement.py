"""Kernels that only move data (padding, transposes, layout changes) and how they disappear.

TVM's FuseOps never lets a convolution read through a transpose or a padding, nor write through
one. Here such a kernel is merged with the one that reads (or else writes) its only other end, so
that the data is moved on the way and never stored twice.
"""

from __future__ import annotations

from collections import Counter

from harness.passes.rewriter import MAIN
from harness.tvm_api import (
    PrimFunc,
    SBlock,
    operator_name,
    relax,
    structural_walk,
    tirx,
    tvm,
)


def is_movement(kernel: PrimFunc) -> bool:
    """Whether every statement of a kernel stores a loaded value, or a constant around it.

    Resampling is not movement: it is an operator of its own, whatever its interpolation.
    """
    values = _stored(kernel)
    return bool(values) and all(map(_moves, values)) and not _resamples(kernel)


def is_stray(kernel: PrimFunc) -> bool:
    """Whether a kernel does nothing but move or clip data: it should have been fused."""
    values = _stored(kernel)
    pure = all(_moves(value) or _clips(value) for value in values)
    return bool(values) and pure and not _resamples(kernel)


_LITERALS = (tirx.FloatImm, tirx.IntImm)


def _stored(kernel: PrimFunc) -> list[tvm.ir.Expr]:
    """The values that a kernel's statements store."""
    values: list[tvm.ir.Expr] = []
    structural_walk(kernel.body, (tirx.BufferStore, lambda store: values.append(store.value)))
    return values


def _resamples(kernel: PrimFunc) -> bool:
    blocks: list[str] = []
    structural_walk(kernel.body, (SBlock, lambda block: blocks.append(str(block.name_hint))))
    return any(name.startswith("resize") for name in blocks)


def _moves(value: tvm.ir.Expr) -> bool:
    if isinstance(value, tvm.ir.TensorLoad):
        return True
    if operator_name(value) == "prim.if_then_else":
        _, inside, outside = value.args
        return _moves(inside) and isinstance(outside, _LITERALS)
    return False


def _clips(value: tvm.ir.Expr) -> bool:
    if not isinstance(value, (tirx.Max, tirx.Min)):
        return False
    sides = (value.a, value.b)
    return any(isinstance(side, _LITERALS) for side in sides) and any(
        _moves(side) or _clips(side) for side in sides
    )


def reshapes(module: tvm.IRModule) -> frozenset[str]:
    """The kernels whose every call becomes a view when the network is lowered."""

    def called(candidate: tvm.IRModule) -> set[str]:
        return {
            binding.value.args[0].name_hint
            for block in candidate[MAIN].body.blocks
            for binding in block.bindings
            if operator_name(binding.value) == "relax.call_tir"
        }

    return frozenset(called(module) - called(relax.transform.RewriteDataflowReshape()(module)))


def absorb_movement(module: tvm.IRModule) -> tvm.IRModule:
    """Merge each data-moving kernel into its only reader, or else into its only writer.

    `module` holds fused kernels; reshapes, which become views, are left as they are.
    """
    module = relax.transform.CanonicalizeBindings()(module)
    while True:
        pair = _next_pair(module)
        if pair is None:
            return relax.transform.DeadCodeElimination()(module)
        module = _merge(module, *pair)


def _next_pair(module: tvm.IRModule) -> tuple[relax.Var, relax.Var] | None:
    """The next two bindings to merge, writer first."""
    views = reshapes(module)
    uses: Counter[relax.Var] = Counter()
    calls: dict[relax.Var, relax.Call] = {}
    function = module[MAIN]
    for block in function.body.blocks:
        for binding in block.bindings:
            for argument in _inputs(binding.value):
                uses[argument] += 1
            if operator_name(binding.value) == "relax.call_tir":
                calls[binding.var] = binding.value
    for argument in _inputs(function.body.body):
        uses[argument] += 1

    def kernel(variable: relax.Var) -> str:
        return str(calls[variable].args[0].name_hint)

    moving = {
        variable
        for variable in calls
        if kernel(variable) not in views and is_movement(module[kernel(variable)])
    }
    for reader, call in calls.items():
        if kernel(reader) in views:
            continue
        for argument in _inputs(call):
            if uses[argument] == 1 and argument in calls and kernel(argument) not in views:
                if argument in moving:
                    return argument, reader
                if reader in moving and not isinstance(argument.ty, relax.TupleType):
                    return argument, reader
    return None


def _inputs(value: relax.Expr) -> list[relax.Var]:
    """The variables a value reads."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [variable for field in value.fields for variable in _inputs(field)]
    if isinstance(value, relax.TupleGetItem):
        return _inputs(value.tuple_value)
    if isinstance(value, relax.Call):
        return [variable for argument in value.args for variable in _inputs(argument)]
    return []


def _merge(module: tvm.IRModule, writer: relax.Var, reader: relax.Var) -> tvm.IRModule:
    """Put the kernels that bind `writer` and `reader` into one; FuseTIR builds its body."""
    function = module[MAIN]
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    values = {binding.var: binding.value for binding in bindings}
    first, second = values[writer], values[reader]

    builder = relax.BlockBuilder(module.clone())
    outer: list[relax.Expr] = []
    inner: dict[relax.Expr, relax.Var] = {}
    for argument in [*first.args[1].fields, *second.args[1].fields]:
        if not argument.same_as(writer) and argument not in inner:
            inner[argument] = relax.Var(f"argument_{len(outer)}", argument.ty)
            outer.append(argument)
    name = f"{first.args[0].name_hint}_{second.args[0].name_hint}"
    with builder.function(name, list(inner.values()), {"Primitive": True}, private=True):
        with builder.dataflow():
            moved = builder.emit(
                relax.call_tir(first.args[0], [inner[a] for a in first.args[1].fields], writer.ty)
            )
            result = builder.emit_output(
                relax.call_tir(
                    second.args[0],
                    [moved if a.same_as(writer) else inner[a] for a in second.args[1].fields],
                    reader.ty,
                )
            )
        grouped = builder.emit_func_output(result)
    replaced = relax.Call(grouped, outer)

    rebuilt = [
        relax.VarBinding(b.var, replaced) if b.var.same_as(reader) else b
        for b in bindings
        if not b.var.same_as(writer)
    ]
    body = relax.SeqExpr([relax.DataflowBlock(rebuilt)], function.body.body)
    merged = builder.get()
    merged.update_func(
        merged.get_global_var(MAIN),
        relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs),
    )
    merged = relax.transform.Normalize()(merged)
    return relax.transform.FuseTIR()(merged)
