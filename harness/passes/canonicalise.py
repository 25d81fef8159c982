"""Makes an imported graph fusable: one form for each thing that frontends express in several.

- Kernels that a frontend emitted too early, as TIR (`Clip` as two of them), become operators again.
- BatchNorm becomes arithmetic; arithmetic with constants per channel that follows a convolution or
  a dense layer is folded into its weights and one bias.
- Transposed convolutions whose windows do not overlap become matrix products, others convolutions.
- Indices out of range mean the nearest element, so that no kernel leaves its tensors.
- Operators without effect are removed; layout changes that move only dimensions of extent 1 become
reshapes,
  which cost nothing; operators over many inputs become chains of binary ones, which fuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.compiler.api import PrimFunc, operator_name, relax, structural_equal, tvm
from harness.compiler.names import name_of, named, unique
from harness.errors import CellFailure
from harness.passes.bounded_indices import BoundIndices
from harness.passes.channel_arithmetic import FoldChannelArithmetic
from harness.passes.constants import EvaluateConstants, ZerosAsArrays
from harness.passes.rewriter import MAIN, Rewriter, with_arguments
from harness.passes.simplify import Simplify
from harness.passes.transposed_convolution import (
    ConvolveTransposedConvolutions,
    MultiplyTransposedConvolutions,
)
from harness.passes.weighted import weighted


def canonicalise(module: tvm.IRModule, nodes: Mapping[str, str] | None = None) -> tvm.IRModule:
    """The same network in canonical form; numerically equal up to rounding.

    Its weighted operators have names, see `NameLayers`. `nodes` are the names of the model's nodes,
    by the variable that the node's result is bound to.

    Raises CellFailure for control flow, which no later pass supports.
    """
    transform = relax.transform
    if not _branches(module):  # this renames the variables of results
        module = NameNodes.apply(module, nodes or {})
    module = transform.CanonicalizeBindings()(module)
    if _branches(module):
        raise CellFailure(
            "the network has control flow (If or Loop) that is not constant; "
            "fix the inputs it depends on so that it folds away"
        )
    module = transform.DecomposeOpsForInference()(module)
    module = EvaluateConstants.apply(module)
    module = ZerosAsArrays.apply(module)
    module = transform.FoldConstant()(module)
    module = RaiseEarlyKernels.apply(module)
    module = BoundIndices.apply(module)
    module = Simplify.apply(module)
    module = FoldChannelArithmetic.apply(module)
    module = MultiplyTransposedConvolutions.apply(module)
    module = ConvolveTransposedConvolutions.apply(module)
    module = transform.EliminateCommonSubexpr()(module)
    return NameLayers.apply(transform.DeadCodeElimination()(module))


def _branches(module: tvm.IRModule) -> bool:
    blocks = module[MAIN].body.blocks
    return len(blocks) > 1 or any(isinstance(b.value, relax.If) for b in _bindings(blocks))


def _bindings(blocks: Sequence[relax.BindingBlock]) -> Iterator[relax.VarBinding]:
    for block in blocks:
        yield from block.bindings


class NameNodes(Rewriter):
    """Gives each call the name of the model's node that it was converted from: that of its own
    variable, or of the next named one, as a node's other calls stand before its result."""

    def __init__(self, module: tvm.IRModule, nodes: Mapping[str, str]) -> None:
        super().__init__(module)
        self._names: dict[relax.Var, str] = {}
        name = None
        for binding in reversed(list(_bindings(self.function.body.blocks))):
            name = nodes.get(str(binding.var.name), name)
            if name is not None:
                self._names[binding.var] = name

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        return named(call, self._names.get(original.var))


class NameLayers(Rewriter):
    """Gives the weights of each weighted operator a name of their own: its node's, with a number if
    another has that name; without one, the operator's with its number among the weighted ones."""

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._taken: dict[str, relax.Var] = {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        layer = weighted(call)
        if layer is None:
            return None
        kind = layer.operator.rsplit(".", 1)[-1]
        name = unique(name_of(call) or f"{kind}{len(self._taken)}", self._taken)
        self._taken[name] = original.var
        data, weights, *others = call.args
        return with_arguments(call, [data, named(weights, name), *others])


_EARLY = {"maximum": relax.op.maximum, "minimum": relax.op.minimum}
"""Kernels that frontends emit: the kernel's name, and the operator that it is."""


class RaiseEarlyKernels(Rewriter):
    """`call_tir` of a kernel that some operator's own legalisation gives becomes that operator.

    The kernels are compared structurally, so nothing is recognised by its name alone.
    """

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) != "relax.call_tir":
            return None
        name = call.args[0].name_hint.rstrip("0123456789_")
        build = _EARLY.get(name)
        arguments = list(call.args[1].fields)
        kernel = self.module[call.args[0]]
        if (
            build is None
            or len(arguments) != 2
            or not structural_equal(
                kernel.without_attr("global_symbol"), _legalised(build, arguments)
            )
        ):
            return None
        return build(*arguments)


def _legalised(build: object, arguments: list[relax.Expr]) -> PrimFunc | None:
    """The kernel that an operator becomes for arguments of these types, if it becomes just one."""
    builder = relax.BlockBuilder()
    parameters = [relax.Var(f"argument_{at}", value.ty) for at, value in enumerate(arguments)]
    with builder.function(MAIN, parameters):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(build(*parameters)))  # type: ignore[operator]
        builder.emit_func_output(result)
    module = relax.transform.LegalizeOps()(builder.get())
    kernels = [function for function in module.functions.values() if isinstance(function, PrimFunc)]
    return kernels[0].without_attr("global_symbol") if len(kernels) == 1 else None
