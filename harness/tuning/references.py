"""What a kernel gives without any schedule, on this machine's processor: its schedules are verified
against that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.tuning.arguments import given_in
from harness.tuning.difference import Reference
from harness.tvm_api import target_of, tvm

_NAME = "unscheduled"
_PLAINLY = {"opt-level": 1}
"""How unscheduled kernels are compiled: they run a few times only, and at LLVM's highest level some
take 16 seconds to compile."""


def references(
    module: tvm.IRModule,
    outputs: int,
    arrays: Sequence[np.ndarray],
    real: Path | None,
    processor: Mapping[str, object],
) -> list[Reference]:
    """What the unscheduled `main` of a module gives, compiled for a target that is described: on
    random arguments, `arrays`, of which the last are `outputs`; and on real ones, an `.npz` of what
    the kernel is given in an inference, where there is one."""
    target = target_of({**processor, **_PLAINLY})
    kernel = module["main"].with_attr("global_symbol", _NAME)
    function = tvm.compile(tvm.IRModule({_NAME: kernel}), target=target).jit()[_NAME]
    given = [list(arrays[:-outputs])]
    if real is not None:
        given.append(given_in(real))
    found = []
    for each in given:
        results = [tvm.runtime.tensor(np.zeros_like(output)) for output in arrays[-outputs:]]
        function(*(tvm.runtime.tensor(array) for array in each), *results)
        found.append((each, [result.numpy() for result in results]))
    return found
