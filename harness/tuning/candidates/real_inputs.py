"""Inputs of each kernel of a network in a real inference, for verifying its schedules."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.building.network import machine_of
from harness.compiler.api import tvm
from harness.files.arrays import write_arrays
from harness.passes.fusion import kernels
from harness.passes.rewriter import MAIN


def record_kernel_inputs(
    fused: tvm.IRModule,
    target: tvm.target.Target,
    threads: int,
    feeds: list[np.ndarray],
    folder: Path,
) -> dict[str, Path]:
    """Run a fused network once, in its default schedule, on `feeds` (in the order of its
    parameters); kernel name to the `.npz` of the inputs of its first call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {kernel.name: kernel for kernel in kernels(fused)}
    machine = machine_of(fused, target, threads)
    found: dict[str, Path] = {}

    def instrument(_: object, name: str, before: bool, __: object, *arguments: object) -> int:
        if before and name in wanted and name not in found:
            inputs = arguments[: len(arguments) - wanted[name].outputs]
            found[name] = folder / f"{len(found)}.npz"  # names grow longer than a file's may
            named = [(str(at), tensor.numpy()) for at, tensor in enumerate(inputs)]  # type: ignore[attr-defined]
            write_arrays(found[name], [named])
        return 0

    machine.set_instrument(instrument)
    machine[MAIN](*(tvm.runtime.tensor(array) for array in feeds))
    return found
