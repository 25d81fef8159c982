"""A default schedule for the kernels of a graphics processor that no tuning reached: TVM's own
rules, which tile matrix products and reductions, and give an element to a thread elsewhere.

Unlike a processor's, a kernel without a schedule does not run there at all.
"""

from __future__ import annotations

from harness.tvm_api import dlight_rules, tvm


def schedule_for_graphics(module: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Give every kernel of a fused module that is not scheduled yet a simple schedule."""
    with target:
        return dlight_rules()(module.clone())  # the pass changes the module that it is given
