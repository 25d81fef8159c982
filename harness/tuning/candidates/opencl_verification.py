"""Verifies the schedules of a graphics processor that is not here: each kernel is run in its OpenCL
form on this machine's processor, and compared with the unscheduled kernel.

This does not verify the CUDA compiler's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from harness.compiler.api import PrimFunc, tvm
from harness.devices.graphics.opencl import NotOpenCL, OpenCLKernel
from harness.errors import CellFailure
from harness.passes.fusion import KernelCall
from harness.passes.rewriter import MAIN
from harness.records.compiled_code import KernelVerification
from harness.tuning.candidates.arguments import Arguments
from harness.tuning.candidates.difference import Reference, first_difference
from harness.tuning.candidates.references import references

HERE = {"kind": "llvm"}
"""The target of the unscheduled kernels: any processor will do."""


def verify_schedules(
    calls: Sequence[KernelCall],
    scheduled: tvm.IRModule,
    target: tvm.target.Target,
    recorded: Mapping[str, Path],
    by: str,
    told: Callable[[int, int], None],
) -> KernelVerification:
    """The number of kernels of a network with right results in their schedules for a `target`.
    `recorded` has the file of each kernel's inputs in an inference, `by` is the version of the
    program that runs them, and `told` hears how many are done, and of how many.

    Raises CellFailure for the first kernel that is wrong.
    """
    unverified: dict[str, str] = {}
    for done, call in enumerate(calls):
        told(done, len(calls))
        module, real = tvm.IRModule({MAIN: call.function}), recorded.get(call.name)
        arrays = Arguments(module, [], 0.0, real).arrays
        expected = references(module, call.outputs, arrays, real, HERE)
        try:
            why = opencl_difference(scheduled[call.name], target, expected)
        except NotOpenCL as missing:
            unverified[call.name] = str(missing)
            continue
        if why:
            raise CellFailure(
                f"the schedule of '{call.name}' is wrong: {why}; expected the result of "
                f"the unscheduled kernel, found that of the schedule's OpenCL form, run by {by}"
            )
    return KernelVerification(by=by, kernels=len(calls), unverified=unverified)


def opencl_difference(
    scheduled: PrimFunc, target: tvm.target.Target, expected: Iterable[Reference]
) -> str | None:
    """The first wrong output of a scheduled kernel, in words; None if
    all are. Raises NotOpenCL where that cannot be found out here."""
    return first_difference(OpenCLKernel(scheduled, target), expected)
