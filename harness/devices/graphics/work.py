"""The work of each launch of a kernel that is scheduled for a graphics processor, by its loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.compiler.api import PrimFunc, estimate_tir_flops, tirx
from harness.kernels.blocks import loads
from harness.records.compiled_code import Launch

_GLOBAL = "global"
_BLOCK = "blockIdx"


def with_work(function: PrimFunc, name: str, launches: Sequence[Launch]) -> list[Launch]:
    """The launches of a function that was compiled under a name, with their work: TVM makes one
    of each outermost loop nest, and numbers them.

    Raises ValueError where the loops and the launches do not go together.
    """
    body = function.body.block.body
    nests = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    named = {launch.name: launch for launch in launches}
    names = [f"{name}_kernel", *(f"{name}_kernel_{at}" for at in range(1, len(nests)))]
    if missing := [each for each in names if each not in named]:
        raise ValueError(f"{name} has {len(nests)} loop nests, but no launch '{missing[0]}'")
    return [
        named[each].model_copy(
            update={
                "blocks": _blocks(nest),
                "flops": float(estimate_tir_flops(nest)),
                "bytes": sum(_moved(nest, {})),
            }
        )
        for each, nest in zip(names, nests, strict=True)
    ]


def _tag(loop: Any) -> str:
    """The index that a loop is bound to, such as `threadIdx.x`, empty for any other loop."""
    return "" if loop.thread_binding is None else str(loop.thread_binding.thread_tag)


def _blocks(statement: Any) -> int:
    """The blocks of threads of a nest, whose outermost loops those are."""
    found = 1
    while isinstance(statement, tirx.For):
        if _tag(statement).startswith(_BLOCK):
            found *= int(statement.extent)
        statement = statement.body
    return found


def _moved(statement: Any, extents: Mapping[str, int]) -> Iterator[float]:
    """The bytes that stores below a statement move from and to the device's memory, each time that
    the loops around it, whose extents are given, run. A thread's index that is bound again is the
    same thread's."""
    if isinstance(statement, tirx.For):
        key = _tag(statement) or f"loop {len(extents)}"
        yield from _moved(statement.body, {**extents, key: int(statement.extent)})
    elif isinstance(statement, tirx.BufferStore):
        buffers = [statement.buffer, *(load.source for load in loads(statement.value))]
        width = sum(
            np.dtype(str(each.dtype)).itemsize for each in buffers if each.scope() == _GLOBAL
        )
        yield width * float(math.prod(extents.values()))
    else:
        for part in _parts(statement):
            yield from _moved(part, extents)


def _parts(statement: Any) -> Iterator[Any]:
    """The parts of a statement. The initial value of a reduction is left out: it is set where
    the sum is, in a register."""
    if isinstance(statement, tirx.SeqStmt):
        yield from statement.seq
    for name in ("block", "body", "then_case", "else_case"):
        part = getattr(statement, name, None)
        if part is not None:
            yield part
