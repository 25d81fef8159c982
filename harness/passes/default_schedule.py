"""A default schedule for the CPU kernels that no tuning reached.

TVM compiles a kernel without a schedule to scalar loops on one thread, one loop nest an operator.
The schedule here is the one that a person would write first, without a search:

- operators that work element by element are computed where they are read;
- a reduction with a contiguous output axis (convolution, matrix product, pooling) is computed in
  register tiles, rows × vectors of channels, inside the loops of whatever reads it;
- a reduction along the contiguous axis (softmax, layer norm) is computed row by row, with one
  partial result a vector lane;
- everything else runs in parallel over its outer loops and is vectorised over the innermost one.

Every step is tried on a copy of the schedule: what TVM refuses is left out, and a kernel of which
nothing can be scheduled stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.tvm_api import PrimFunc, SBlock, Schedule, structural_walk, tirx, tvm

SCHEDULED = "tirx.is_scheduled"

_PARALLEL_OPERATIONS = 20_000
"""Waking threads costs microseconds: below this many operations one thread is quicker."""

_INLINED_READS = 64
"""Computing operators where they are read repeats them for each reader; this bounds the code."""


def schedule_untuned(module: tvm.IRModule, target: tvm.target.Target, threads: int) -> tvm.IRModule:
    """Give every kernel of a fused module that is not scheduled yet a simple schedule.

    The results differ from the unscheduled kernels' only by the order of summation. Kernels that
    have dynamic shapes or that TVM cannot schedule are left untouched; `threads` is how many the
    kernels will run on.
    """
    machine = _machine(target, threads)
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc) and not function.attrs.get(SCHEDULED, False):
            result.update_func(variable, _scheduled(function, machine))
    return result
