"""Our part of TVM's lowering of scheduled kernels: its first pass, one after its loops are lowered,
its last ones, and the rules of elementary functions.

Passes, schedules and cost models see plain functions, maxima and masks; these rewrites follow all
of TVM's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from harness.compiler.api import tirx, tvm
from harness.compiler.patches import vectorise, wrap_lowering
from harness.kernels.dot_products import lower_dot_products, register_dot_products
from harness.kernels.elementary import register_functions
from harness.kernels.extrema import begin_infinite, keep_nan
from harness.kernels.named_values import store_named_values
from harness.kernels.selections import select_for_masks
from harness.kernels.shielded import register_shields, shield, unshield
from harness.kernels.stack import keep_on_stack

_VECTORISABLE = ("tirx.erf", "tirx.nearbyint", "tirx.rsqrt")
"""Functions that lowering has vectors for, and TVM takes for scalar ones."""
_FIRST = (shield, begin_infinite)
_LAST = (lower_dot_products, unshield, keep_nan, select_for_masks, store_named_values)
"""In this order: the first two name values, which the last one stores."""


@cache  # TVM admits one rule of a level, and a pipeline is wrapped once
def use_our_lowering() -> None:
    """Have every kernel that this process compiles compute elementary functions in vectors if it is
    for a processor, keep NaN in maxima and minima, select where it has masks, and have
    accumulators on the stack. Arithmetic of floats stays what it is."""
    register_functions()
    for name in _VECTORISABLE:
        vectorise(name)
    register_shields()
    register_dot_products()  # kernels that another process wrote have them
    wrap_lowering(
        lambda: _passes(_FIRST),
        lambda: _passes([keep_on_stack]),
        lambda: _passes(_LAST),
    )


def _passes(rewrites: Sequence[Any]) -> Any:
    """A pass that makes each of the rewrites of a kernel."""
    passes = [tirx.transform.prim_func_pass(rewrite, opt_level=0) for rewrite in rewrites]
    return tvm.transform.Sequential(passes)
