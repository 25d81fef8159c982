"""Results of a kernel without any schedule, on this machine's processor: its schedules are verified
against that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.compiler.api import target_of, tvm
from harness.kernels.lowering import use_our_lowering
from harness.measure.comparison import errors, is_float, tolerance_of
from harness.tuning.candidates.arguments import given_in
from harness.tuning.candidates.difference import Reference, admitted_errors

_NAME = "unscheduled"
PLAINLY = {"opt-level": 1}
"""How unscheduled kernels are compiled: they run a few times only, and at LLVM's highest level some
take 16 seconds to compile."""
_ROUNDINGS = 4
"""How many a value is off by where it is rounded differently."""
_SEEDS = (1, 2)


def references(
    module: tvm.IRModule,
    outputs: int,
    arrays: Sequence[np.ndarray],
    real: Path | None,
    processor: Mapping[str, object],
) -> list[Reference]:
    """Results of the unscheduled `main` of a module, compiled for a described target: on random
    arguments, `arrays`, of which the last are `outputs`; and on real ones, an `.npz` of the inputs
    that the kernel is given in an inference, where there is one. How far off a value may be goes by
    how far it moves when the kernel's inputs are rounded differently."""
    use_our_lowering()
    target = target_of({**processor, **PLAINLY})
    kernel = module["main"].with_attr("global_symbol", _NAME)
    function = tvm.compile(tvm.IRModule({_NAME: kernel}), target=target).jit()[_NAME]
    given = [list(arrays[:-outputs])]
    if real is not None:
        given.append(given_in(real))

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = [tvm.runtime.tensor(np.zeros_like(output)) for output in arrays[-outputs:]]
        function(*(tvm.runtime.tensor(array) for array in inputs), *results)
        return [result.numpy() for result in results]

    return [reference_by(run, each) for each in given]


def reference_by(
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]], inputs: list[np.ndarray]
) -> Reference:
    """What `run`, an unscheduled kernel, gives for some inputs, and how far off a value may be."""
    expected = list(run(inputs))
    moved = [run([_rounded_otherwise(array, seed) for array in inputs]) for seed in _SEEDS]
    admitted = [
        admitted_errors(one, np.max([errors(one, other) for other in others], axis=0))
        for one, *others in zip(expected, *moved, strict=True)
    ]
    return Reference(inputs, expected, admitted)


def _rounded_otherwise(array: np.ndarray, seed: int) -> np.ndarray:
    """Floats, each a little larger or smaller; anything else as it is."""
    if not is_float(array.dtype):
        return array
    step = _ROUNDINGS * tolerance_of(array.dtype).rounding
    signs = np.random.default_rng(seed).choice([-step, step], array.shape)
    moved: np.ndarray = (array.astype(np.float64) * (1 + signs)).astype(array.dtype)
    return moved
