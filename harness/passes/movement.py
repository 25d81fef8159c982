"""Kernels that only move data (padding, transposes, layout changes) and how they disappear.

TVM's FuseOps never lets a convolution read through a transpose or a padding, nor write through
one. Here such a kernel is merged with the one that reads (or else writes) its only other end, so
that the data is moved on the way and never stored twice.
"""

from __future__ import annotations

from collections import defaultdict

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    operator_name,
    relax,
    structural_walk,
    tirx,
    tvm,
)
from harness.kernels.blocks import is_opaque
from harness.passes.rewriter import MAIN


def is_stray(kernel: PrimFunc) -> bool:
    """Whether a kernel does nothing but move or clip data: it should have been fused.

    Resampling is not movement: it is an operator of its own, whatever its interpolation. Nor are
    kernels that do not declare their reads and writes, as scattering ones.
    """
    values = _stored(kernel)
    pure = all(_moves(value) or _clips(value) for value in values)
    return bool(values) and pure and not _resamples(kernel) and not is_opaque(kernel)


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


def _pads(kernel: PrimFunc) -> bool:
    return any(operator_name(value) == "prim.if_then_else" for value in _stored(kernel))


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
    """Merge each kernel that only moves or clips data into the only kernel that writes or reads it.

    Padding goes to the reader, which looks at a value's neighbours anyway; a transpose goes to the
    writer, which then stores each value once where it belongs. Where that side has other readers
    or is no kernel, the other side takes it. `module` holds fused kernels; reshapes, which become
    views, are left as they are.
    """
    module = relax.transform.CanonicalizeBindings()(module)
    while pairs := _pairs(module):
        module = _merge(module, pairs)
    return relax.transform.DeadCodeElimination()(module)


def _pairs(module: tvm.IRModule) -> list[tuple[relax.Var, relax.Var]]:
    """Bindings to merge, writer first; none of them is in two pairs."""
    views = reshapes(module)
    function = module[MAIN]
    calls: dict[relax.Var, relax.Call] = {}
    readers: dict[relax.Var, list[relax.Var | None]] = defaultdict(list)
    for block in function.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if operator_name(value) == "relax.call_tir" and value.args[0].name_hint not in views:
                calls[binding.var] = value
            for argument in _inputs(value):
                readers[argument].append(binding.var)
    for argument in _inputs(function.body.body):
        readers[argument].append(None)

    kernels = {variable: module[call.args[0]] for variable, call in calls.items()}
    kernels = {variable: kernel for variable, kernel in kernels.items() if not is_opaque(kernel)}
    moving = [variable for variable, kernel in kernels.items() if is_stray(kernel)]
    taken: set[relax.Var] = set()
    pairs = []
    for mover in moving:
        writers = [
            (argument, mover)
            for argument in _inputs(calls[mover])
            if argument in kernels
            and len(readers[argument]) == 1
            and not isinstance(argument.ty, relax.TupleType)
        ]
        reader = readers[mover][0] if len(readers[mover]) == 1 else None
        after = [(mover, reader)] if reader in kernels else []
        candidates = after + writers if _pads(kernels[mover]) else writers + after
        for pair in candidates:
            if taken.isdisjoint(pair):
                taken.update(pair)
                pairs.append(pair)
                break
    return pairs


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


def _merge(module: tvm.IRModule, pairs: list[tuple[relax.Var, relax.Var]]) -> tvm.IRModule:
    """Put the kernels that bind the two variables of each pair into one; FuseTIR builds it."""
    function = module[MAIN]
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    values = {binding.var: binding.value for binding in bindings}
    builder = relax.BlockBuilder(module.clone())
    merged = {
        reader: _grouped(builder, values[writer], writer, values[reader], reader)
        for writer, reader in pairs
    }
    gone = {writer for writer, _ in pairs}
    rebuilt = [
        relax.VarBinding(binding.var, merged.get(binding.var, binding.value))
        for binding in bindings
        if binding.var not in gone
    ]
    body = relax.SeqExpr([relax.DataflowBlock(rebuilt)], function.body.body)
    result = builder.get()
    result.update_func(
        result.get_global_var(MAIN),
        relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs),
    )
    return relax.transform.FuseTIR()(relax.transform.Normalize()(result))


def _grouped(
    builder: relax.BlockBuilder,
    first: relax.Call,
    writer: relax.Var,
    second: relax.Call,
    reader: relax.Var,
) -> relax.Call:
    """A call of a new primitive function that computes two kernel calls."""
    outer: list[relax.Expr] = []
    inner: dict[relax.Expr, relax.Var] = {}
    for argument in [*first.args[1].fields, *second.args[1].fields]:
        if not argument.same_as(writer) and argument not in inner:
            inner[argument] = relax.Var(f"argument_{len(outer)}", argument.ty)
            outer.append(argument)
    name = f"{first.args[0].name_hint}_{second.args[0].name_hint}"
    with builder.function(name, list(inner.values()), {"Primitive": True}, private=True):
        with builder.dataflow():
            inner[writer] = builder.emit(_called(first, writer, inner))
            result = builder.emit_output(_called(second, reader, inner))
        function = builder.emit_func_output(result)
    return relax.Call(function, outer)


def _called(call: relax.Call, bound: relax.Var, inner: dict[relax.Expr, relax.Var]) -> relax.Call:
    types = list(bound.ty.fields) if isinstance(bound.ty, relax.TupleType) else bound.ty
    return relax.call_tir(call.args[0], [inner[value] for value in call.args[1].fields], types)
