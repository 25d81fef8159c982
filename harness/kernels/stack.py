"""Accumulators of a tile on the stack.

TVM's lowering asks the runtime for every intermediate result of more than 1,024 bytes
(`kMaxStackAlloca` in `tvm/runtime/device_api.h`), in each step of the loop around it. The
accumulators of a tile have more where vectors have 64 bytes.
"""

from __future__ import annotations

import math
from typing import Any

from harness.compiler.api import PrimFunc, structural_mutate, tirx, tvm

_MOST = 4096
"""Bytes. Threads have stacks of megabytes, and 32 registers of 64 bytes are 2,048."""
_REGISTERS = "local"
"""TVM's scope of results that are meant for registers."""
_STAY = "disable_lower_builtin"
"""TVM's annotation of an allocation that its lowering leaves to the code generator."""


def keep_on_stack(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered function whose local results, of a constant size of up to 4,096 bytes, are on the
    stack."""
    return function.with_body(structural_mutate(function.body, (tirx.AllocBuffer, _stay)))


def _stay(allocation: Any, _: Any) -> Any:
    buffer = allocation.buffer
    if buffer.scope() != _REGISTERS or not _bytes(buffer) <= _MOST:
        return allocation
    stay = {**dict(allocation.annotations), _STAY: tirx.IntImm("bool", 1)}
    return tirx.AllocBuffer(buffer, stay)


def _bytes(buffer: Any) -> float:
    element = tvm.DataType(str(buffer.dtype))
    if not all(isinstance(extent, tirx.IntImm) for extent in buffer.shape):
        return math.inf
    elements = math.prod(int(extent) for extent in buffer.shape)
    return float(elements * element.bits * element.lanes / 8)
