"""Outputs that are no floats, as labels are, tell little of how near two networks are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.compiler.api import relax
from harness.passes.rewriter import MAIN, Rewriter, variables_of


class WithDecidingFloats(Rewriter):
    """The same network with other outputs: in the place of one that is no float, the values that
    are, from which it is decided. An output that no float decides stays."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        return None

    def result(self) -> relax.Expr:
        bindings = {
            binding.var: binding.value
            for block in self.module[MAIN].body.blocks
            for binding in block.bindings
        }
        found = self.function.body.body
        found = bindings.get(found, found)
        fields = found.fields if isinstance(found, relax.Tuple) else [self.function.body.body]
        outputs = [
            value
            for field in fields
            for value in ([field] if _is_float(field) else [*_deciding(field, bindings)] or [field])
        ]
        return relax.Tuple([self.value(each) for each in outputs])


def _deciding(value: relax.Expr, bindings: Mapping[relax.Var, relax.Expr]) -> Iterator[relax.Var]:
    """The nearest floats that a value is computed from, each once."""
    seen: set[relax.Var] = set()
    left = variables_of(value)
    while left:
        source = left.pop()
        if source in seen:
            continue
        seen.add(source)
        if _is_float(source):
            yield source
        elif source in bindings:
            left += variables_of(bindings[source])


def _is_float(value: relax.Expr) -> bool:
    return "float" in str(getattr(value.ty, "dtype", ""))
