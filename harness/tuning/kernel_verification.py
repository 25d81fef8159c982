"""The kernels of a built network beside the same kernels without a schedule.

A network that rounds to integers cannot be verified as a whole to the last bit: a value between two
steps becomes the other one, and all later layers see it. Here each kernel gets the inputs that it
has in an inference, so that nothing is carried from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.api import ArgInfo, target_of, tvm
from harness.kernels.lowering import use_our_lowering
from harness.measure.comparison import errors, is_float
from harness.passes.fusion import kernels
from harness.tuning.candidates.arguments import given_in
from harness.tuning.candidates.difference import Reference, difference
from harness.tuning.candidates.references import PLAINLY, reference_by

_STEP = 1
_SHARE, _FEW = 1e-3, 2
"""Integers may be a step apart in such a share of an output's values, and in a few: floats that are
rounded to them differ in the last bit."""

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def first_wrong_kernel(
    fused: tvm.IRModule,
    library: Path,
    inputs: Mapping[str, Path],
    processor: Mapping[str, object],
) -> str | None:
    """The first kernel of a fused network whose results in a built library are others than without
    a schedule, and how; None where all are right.

    `inputs` are those of an inference, an `.npz` for each kernel, and `processor` describes this
    machine. Raises nothing for kernels without inputs: they are never called.
    """
    use_our_lowering()
    calls = {call.name: call.outputs for call in kernels(fused) if call.name in inputs}
    if not calls:
        return None
    plain = {name: fused[name].with_attr("global_symbol", name) for name in calls}
    target = target_of({**processor, **PLAINLY})
    unscheduled = tvm.compile(tvm.IRModule(plain), target=target).jit()
    built = tvm.runtime.load_module(str(library))
    for name, outputs in calls.items():
        shapes = [
            (tuple(map(int, info.shape)), str(info.dtype))
            for info in ArgInfo.from_prim_func(fused[name])[-outputs:]
        ]
        given = given_in(inputs[name])
        reference = reference_by(_runner(unscheduled[name], shapes), given)
        found = _runner(_function(built, name), shapes)(given)
        for at, (expected, other) in enumerate(zip(reference.outputs, found, strict=True)):
            if why := _wrong(reference, at, expected, other):
                return f"kernel {name}, output {at}: {why}"
    return None


def _function(library: Any, name: str) -> Callable[..., object]:
    """A kernel of a built network, whose code is imported by its bytecode."""
    found: Callable[..., object] = library.get_function(name, query_imports=True)
    return found


def _runner(function: Callable[..., object], shapes: Sequence[tuple[tuple[int, ...], str]]) -> Run:
    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = [tvm.runtime.tensor(np.zeros(shape, dtype)) for shape, dtype in shapes]
        function(*map(tvm.runtime.tensor, inputs), *results)
        return [result.numpy() for result in results]

    return run


def _wrong(reference: Reference, at: int, expected: np.ndarray, found: np.ndarray) -> str | None:
    """How an output differs from the expected one, if it is wrong."""
    if is_float(expected.dtype) or expected.dtype.kind == "b":
        return difference(expected, found, reference.admitted[at])
    apart = errors(expected, found)
    if apart.max(initial=0) <= _STEP and np.count_nonzero(apart) <= _SHARE * apart.size + _FEW:
        return None
    return difference(expected, found)
