"""Verifies the code of one cell before its network is measured: memory accesses, single kernels,
and schedules for a device that is not here. Builds what a compressed network is verified against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.building.network import Made, Scrutiny, build
from harness.compiler.api import tvm
from harness.deploy.onnx.network import write_onnx
from harness.devices.graphics.pocl import pocl_version
from harness.errors import CellFailure
from harness.executors.executor import Executor
from harness.files.atomic import write_atomically
from harness.measure.inputs import verification_inputs
from harness.measure.memory_safety import MemoryCheck
from harness.models.imported import Imported
from harness.models.tensors import TensorSpec
from harness.passes.fusion import fuse, kernels, summarise
from harness.passes.roundings import RoundingsAsArgument, roundings
from harness.records.artifact import LIBRARY, NETWORK, NO_NETWORK, ROUNDINGS, reference_of
from harness.tuning.candidates.opencl_verification import verify_schedules
from harness.tuning.database import database_of
from harness.tuning.kernel_verification import first_wrong_kernel

if TYPE_CHECKING:
    from harness.networks.context import Context
    from harness.records.compiled_code import KernelVerification


class Verification:
    """The verification of one cell's code. `artifact` is the folder of its network, and `work` one
    for temporary files."""

    def __init__(
        self, imported: Imported, context: Context, executor: Executor, artifact: Path, work: Path
    ) -> None:
        self._imported = imported
        self._context = context
        self._executor = executor
        self._artifact = artifact
        self._work = work

    def build_reference(self, canonical: tvm.IRModule) -> None:
        """Compile a compressed network to verify the cell against: the model's own runtime computes
        the uncompressed network. No kernel is fused, sparse or tuned. Values that it rounds can be
        moved. The network is written as ONNX too."""
        imported, more, network = self._imported, [], canonical
        if count := roundings(canonical):
            canonical = RoundingsAsArgument.apply(canonical)
            factors = TensorSpec(ROUNDINGS, (count,), "float32")
            imported = replace(imported, inputs=(*imported.inputs, factors))
            more = [np.ones(count, np.float32)]
        plain, folder = fuse(canonical, "none"), reference_of(self._artifact)
        here, threads = self._context.here, self._context.threads
        made = Made(imported, summarise(canonical, plain))
        looked_at = Scrutiny(unsafe=self._memory_check(plain, here, more, runs_here=True))
        build(plain, here, threads, database_of([], {}), folder, made, looked_at)
        try:
            found = self._imported
            write_onnx(network, found.inputs, found.outputs, folder / NETWORK, self._feeds())
        except CellFailure as error:  # ONNX has no operators for all of them
            write_atomically(folder / NO_NETWORK, f"{error}\n".encode())

    def scrutiny(self, fused: tvm.IRModule) -> Scrutiny:
        """The checks of a fused network's code when it is built."""
        target = self._context.target
        return self._executor.scrutiny(
            lambda runs_here: self._memory_check(fused, target, runs_here=runs_here),
            partial(self._verified, fused),
        )

    def require_right_kernels(self, fused: tvm.IRModule) -> None:
        """Raise CellFailure for a kernel of the built network whose results are wrong. The outputs
        of a network that rounds say little of single kernels."""
        if not self._executor.runs_engines:  # the code does not run here
            return
        context = self._context
        context.tell({"stage": "verify"})
        with context.folder() as folder:
            inputs = context.kernel_inputs(fused, folder)
            library = self._artifact / LIBRARY
            why = first_wrong_kernel(fused, library, inputs, context.spec.tvm.as_tvm())
        if why is not None:
            raise CellFailure(f"wrong result: {why}")

    def _memory_check(
        self,
        fused: tvm.IRModule,
        target: tvm.target.Target,
        more: Sequence[np.ndarray] = (),
        *,
        runs_here: bool,
    ) -> MemoryCheck:
        """The check of a network that takes `more` after the model's inputs."""
        here, feeds = self._context.here, [*self._feeds(), *more]
        names = [kernel.name for kernel in kernels(fused)]
        return MemoryCheck(names, feeds, target, here, runs_here, self._work)

    def _feeds(self) -> list[np.ndarray]:
        """The model's inputs for one inference."""
        if given := self._context.inputs():
            return list(given[0])
        (drawn,), _ = verification_inputs(None, self._imported.inputs, 1, self._context.seed)
        return list(drawn.values())

    def _verified(self, fused: tvm.IRModule, scheduled: tvm.IRModule) -> KernelVerification | None:
        """How a network's schedules did for a device that is not here, where PoCL is there."""
        by = pocl_version()
        if by is None:
            return None
        context = self._context
        context.tell({"stage": "verify"})
        with context.folder() as folder:
            found = verify_schedules(
                kernels(fused),
                scheduled,
                context.target,
                context.kernel_inputs(fused, folder),
                by,
                lambda done, total: context.tell({"stage": "verify", "done": done, "total": total}),
            )
        context.tell({"stage": "build"})
        return found
