"""Names of a model's nodes and layers in its network.

They are in Relax's spans. A call's span has the name of the node that it was converted from. At the
end of canonicalisation the weights of each layer get the layer's name. Calls lose their spans when
operators become kernels; constants keep theirs through all of TVM's passes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.compiler.api import Constant, relax, tvm


def name_of(expr: relax.Expr) -> str | None:
    """The name of a call or constant; None if it has none."""
    span = getattr(expr, "span", None)
    return None if span is None else str(span.source_name.name)


def named(expr: relax.Expr, name: str | None) -> relax.Expr:
    """A call or constant under a name; other expressions, and None for a name, change nothing."""
    if name is None:
        return expr
    span = tvm.ir.Span(tvm.ir.SourceName(name), 0, 0, 0, 0)
    if isinstance(expr, Constant):
        return Constant(expr.value, expr.ty, span)
    if isinstance(expr, relax.Call):
        return relax.Call(expr.op, expr.args, expr.attrs, expr.ty_args, span)
    return expr


def constant_like(original: relax.Expr, values: np.ndarray) -> relax.Expr:
    """A constant of other values, of any shape and type, under the name of the original one."""
    return named(relax.const(values, str(values.dtype)), name_of(original))


def unique(wanted: str, taken: Mapping[str, object]) -> str:
    """A name that is not taken: `conv`, then `conv (2)`."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted} ({count})"
    return name
