"""Lets the values that a network rounds to integers be moved, to see what depends on it."""

from __future__ import annotations

from harness.compiler.api import operator_name, relax, shape_of, tvm
from harness.passes.rewriter import MAIN, Rewriter, with_arguments
from harness.records.artifact import ROUNDINGS

_ROUNDING = frozenset({"relax.quantize", "relax.round"})


class RoundingsAsArgument(Rewriter):
    """The same network with a last argument, float32 `[roundings]`: what it rounds is multiplied by
    a factor for each place where it does."""

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._factors = relax.Var(ROUNDINGS, relax.TensorType([roundings(module)], "float32"))
        self._done = 0

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), self._factors]

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) not in _ROUNDING:
            return None
        data, *others = call.args
        at, self._done = self._done, self._done + 1
        factor = self.emit(relax.op.strided_slice(self._factors, [0], [at], [at + 1]))
        factor = self.emit(relax.op.reshape(factor, [1] * max(1, len(shape_of(data)))))
        factor = self.emit(relax.op.astype(factor, str(data.ty.dtype)))
        return with_arguments(call, [self.emit(relax.op.multiply(data, factor)), *others])


def roundings(module: tvm.IRModule) -> int:
    """At how many places a network rounds values to integers."""
    return sum(
        operator_name(binding.value) in _ROUNDING
        for block in module[MAIN].body.blocks
        for binding in block.bindings
    )
