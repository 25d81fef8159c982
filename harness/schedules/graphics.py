"""A default schedule for the kernels of a graphics processor that no tuning reached: TVM's own
rules, which tile matrix products and reductions, and give an element to a thread elsewhere.

Unlike a processor's, a kernel without a schedule does not run there at all.
"""

from __future__ import annotations

from harness.compiler.api import PrimFunc, dlight_fallback, dlight_rules, tvm

_ALONE = "main"


def schedule_for_graphics(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Give every kernel of a fused module that is not scheduled yet a simple schedule."""
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            result.update_func(variable, _scheduled(function, target))
    return result


def _scheduled(function: PrimFunc, target: tvm.target.Target) -> PrimFunc:
    # Each in a module of its own: the rules change the module that they are given, and one that
    # cannot read a kernel, as with an index that is a choice of two, raises for all of them.
    with target:
        try:
            return dlight_rules()(tvm.IRModule({_ALONE: function}))[_ALONE]
        except ValueError:
            return dlight_fallback()(tvm.IRModule({_ALONE: function}))[_ALONE]
