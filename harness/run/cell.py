"""One cell, from model file to compiled network: the life of a configuration, stage by stage.

    import → canonicalise → compress, merge edges → layout, sparse lowering → fuse → tune → build

What follows, `verify → measure → record`, takes all cells of a model and target together and is in
`harness.measure.group` and `harness.run.sweep`; but schedules for a device that is not here are
verified in the build, kernel by kernel. This module runs in a child process (`python -m
harness.run.cell`), because every stage of it may crash, hang or eat memory.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure, CellSkipped, in_words
from harness.executors.executor import Executor
from harness.executors.table import executor_of
from harness.processes.child import Channel, Message, channel
from harness.records.artifact import (
    LIBRARY,
    NETWORK,
    ROUNDINGS,
    Artifact,
    StateTensor,
    reference_of,
)
from harness.run.import_stage import MODEL_STAGES, ImportOrder
from harness.run.steps import steps_of
from harness.specs.documents import Frozen
from harness.specs.sweep import Configuration
from harness.specs.target import TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from harness.building.network import Scrutiny
    from harness.compiler.api import tvm
    from harness.measure.memory_safety import MemoryCheck
    from harness.models.imported import Imported
    from harness.networks.context import Context
    from harness.records.compiled_code import KernelVerification
    from harness.records.record import Tuning
    from harness.specs.sweep import Tune

_PROGRESS_SECONDS = 0.3


class Order(Frozen):
    """An order to a cell's child process. Folders are absolute."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    state: tuple[StateTensor, ...] = ()
    work: Path
    target: TargetSpec
    configuration: Configuration
    seed: int
    tuning_database: Path
    artifact: Path
    inputs: Path | None = None
    """Inputs of the model, as `harness.files.arrays` writes them, to verify kernels on, and the
    order of its channels; without them random ones are used."""
    calibration: Path | None = None
    """Others, to compress the model's edges by; no configuration is scored on those."""
    training: Path | None = None
    """More of those, to fine-tune on."""
    servers: Servers | None = None
    """Where the servers of the target's key are found."""


Tell = Callable[[Message], None]


def compile_cell(order: Order, tell: Tell) -> Artifact:
    """The compiled network of one cell, in `order.artifact`.

    Raises InputError and CellFailure. `tell` hears the stage and the tuner's progress.
    """
    from harness.building.blame import blaming
    from harness.models.frontends import import_model

    tell({"stage": "import"})
    found = import_model(order.model, order.shapes, order.work)
    imported = replace(found, state=order.state)
    executor = executor_of(order.target, order.servers)
    with blaming(imported, executor.working_target()):
        return _Cell(order, imported, executor, tell).compiled()


class _Cell:
    """The stages of one cell from its imported model on."""

    def __init__(self, order: Order, imported: Imported, executor: Executor, tell: Tell) -> None:
        from harness.compiler.api import target_of

        self._order = order
        self._spec = order.target
        self._executor = executor
        self._configuration = order.configuration
        self._imported = imported
        self._tell = tell
        self._target = target_of(self._spec.tvm.as_tvm())
        here = executor.working_target()
        self._here, self._threads = target_of(here.as_tvm()), here.num_cores

    def compiled(self) -> Artifact:
        """All stages."""
        from harness.building.network import Made, build
        from harness.passes.canonicalise import canonicalise
        from harness.passes.fusion import summarise
        from harness.passes.roundings import roundings
        from harness.tuning.database import database_of

        self._tell({"stage": "canonicalise"})
        canonical = canonicalise(self._imported.module, self._imported.layer_names)
        context, entries = self._context(), {}
        for key, options, step in steps_of(self._configuration):
            canonical, entry = step.apply(canonical, context, options)
            if entry is not None:
                entries[key] = entry
        adapted, fused = self._fused(canonical)
        tuning, database = None, database_of([], {})
        if self._configuration.tune is not None:
            adapted, fused, tuning, database = self._tuned(
                canonical, adapted, fused, self._configuration.tune
            )
        self._tell({"stage": "build"})
        made = Made(self._imported, summarise(adapted, fused), tuning, entries)
        threads, folder = self._spec.tvm.num_cores, self._order.artifact
        artifact = build(
            fused, self._target, threads, database, folder, made, self._scrutiny(fused)
        )
        if entries and roundings(canonical):
            self._require_right_kernels(fused)
        return artifact

    def _require_right_kernels(self, fused: tvm.IRModule) -> None:
        """Raise CellFailure for a kernel of the built network whose results are wrong. The outputs
        of a network that rounds say little of single kernels."""
        from harness.tuning.kernel_verification import first_wrong_kernel

        if not self._executor.runs_engines:  # the code does not run here
            return
        self._tell({"stage": "verify"})
        library = self._order.artifact / LIBRARY
        with self._folder() as folder:
            inputs = self._kernel_inputs(fused, folder)
            why = first_wrong_kernel(fused, library, inputs, self._spec.tvm.as_tvm())
        if why is not None:
            raise CellFailure(f"wrong result: {why}")

    def _context(self) -> Context:
        from harness.networks.context import Context

        order = self._order
        return Context(
            spec=self._spec,
            target=self._target,
            here=self._here,
            threads=self._threads,
            seed=order.seed,
            state=bool(self._imported.state),
            fusion=self._configuration.fusion,
            inputs=lambda: self._samples(order.inputs),
            calibration=lambda: self._samples(order.calibration),
            training=lambda: self._samples(order.training),
            tuning_database=order.tuning_database,
            folder=self._folder,
            kernel_inputs=self._kernel_inputs,
            keep_reference=self._build_reference,
            tell=self._tell,
            progress=_throttled(self._tell),
        )

    def _fused(
        self, canonical: tvm.IRModule, dense: frozenset[str] = frozenset()
    ) -> tuple[tvm.IRModule, tvm.IRModule]:
        """The network as the hardware asks for it, and the same fused. The layers that `dense`
        names leave out no edges."""
        from harness.passes.adapt import adapt
        from harness.passes.fusion import fuse

        adapted = adapt(canonical, self._spec.passes, self._target, dense)
        self._tell({"stage": "fuse"})
        return adapted, fuse(adapted, self._configuration.fusion, self._target)

    def _tuned(
        self,
        canonical: tvm.IRModule,
        adapted: tvm.IRModule,
        fused: tvm.IRModule,
        tune: Tune,
    ) -> tuple[tvm.IRModule, tvm.IRModule, Tuning, Any]:
        """The network, its fused form, what tuning did, and the schedules that it chose. Layers
        whose sparse kernel turns out to be slower than the dense one are dense after it."""
        from harness.compiler.api import code_kind
        from harness.tuning.database import TuningDatabase, database_of
        from harness.tuning.footprint import footprint
        from harness.tuning.rivals import slower_when_sparse
        from harness.tuning.tasks import tasks_of
        from harness.tuning.tuner import Tuner

        spec, cold = self._spec, footprint(fused, self._spec)
        self._tell({"stage": "tune"})
        with TuningDatabase(self._order.tuning_database) as found, self._folder() as folder:
            tasks = tasks_of(fused, self._target, self._kernel_inputs(fused, folder))
            tuning = Tuner(
                tasks,
                self._target,
                spec.tvm.num_cores if code_kind(self._target).vectors else self._threads,
                found,
                tune,
                self._order.seed,
                _throttled(self._tell),
                self._executor.measurer(self._threads, cold, folder),
            ).run()
            if self._configuration.steps and self._executor.times_kernels:
                slower = slower_when_sparse(
                    canonical,
                    fused,
                    tasks,
                    self._configuration.fusion,
                    spec,
                    found.chosen(),
                    cold,
                    lambda done, total: self._tell(
                        {"stage": "weigh", "done": done, "total": total}
                    ),
                )
                if slower:
                    adapted, fused = self._fused(canonical, slower)
                    tasks = tasks_of(fused, self._target)
            schedules = database_of([task.module for task in tasks], found.chosen())
        return adapted, fused, tuning, schedules

    def _build_reference(self, canonical: tvm.IRModule) -> None:
        """Compile a compressed network without fused, sparse or tuned kernels, to verify the cell
        against: the model's own runtime computes the uncompressed network. No kernel is fused,
        sparse or tuned. Values that it rounds can be moved. The network is written as ONNX too.
        """
        import numpy as np

        from harness.building.network import Made, Scrutiny, build
        from harness.deploy.onnx_network import write_onnx
        from harness.models.tensors import TensorSpec
        from harness.passes.fusion import fuse, summarise
        from harness.passes.roundings import RoundingsAsArgument, roundings
        from harness.tuning.database import database_of

        imported, more, network = self._imported, [], canonical
        if count := roundings(canonical):
            canonical = RoundingsAsArgument.apply(canonical)
            factors = TensorSpec(ROUNDINGS, (count,), "float32")
            imported = replace(imported, inputs=(*imported.inputs, factors))
            more = [np.ones(count, np.float32)]
        plain, folder = fuse(canonical, "none"), reference_of(self._order.artifact)
        made = Made(imported, summarise(canonical, plain))
        looked_at = Scrutiny(unsafe=self._memory_check(plain, self._here, more, runs_here=True))
        build(plain, self._here, self._threads, database_of([], {}), folder, made, looked_at)
        with suppress(CellFailure):  # ONNX has no operators for all of them
            found = self._imported
            write_onnx(network, found.inputs, found.outputs, folder / NETWORK)

    def _scrutiny(self, fused: tvm.IRModule) -> Scrutiny:
        return self._executor.scrutiny(
            lambda runs_here: self._memory_check(fused, self._target, runs_here=runs_here),
            partial(self._verified, fused),
        )

    def _memory_check(
        self,
        fused: tvm.IRModule,
        target: tvm.target.Target,
        more: Sequence[np.ndarray] = (),
        *,
        runs_here: bool,
    ) -> MemoryCheck:
        """The check of a network that takes `more` after the model's inputs."""
        from harness.measure.inputs import verification_inputs
        from harness.measure.memory_safety import MemoryCheck
        from harness.passes.fusion import kernels

        feeds = self._samples(self._order.inputs)
        if not feeds:
            drawn, _ = verification_inputs(None, self._imported.inputs, 1, self._order.seed)
            feeds = [list(each.values()) for each in drawn]
        names = [kernel.name for kernel in kernels(fused)]
        return MemoryCheck(
            names, [*feeds[0], *more], target, self._here, runs_here, self._order.work
        )

    def _verified(self, fused: tvm.IRModule, scheduled: tvm.IRModule) -> KernelVerification | None:
        """How a network's schedules did for a device that is not here, where PoCL is there."""
        from harness.devices.graphics.pocl import pocl_version
        from harness.passes.fusion import kernels
        from harness.tuning.candidates.opencl_verification import verify_schedules

        by = pocl_version()
        if by is None:
            return None
        self._tell({"stage": "verify"})
        with self._folder() as folder:
            found = verify_schedules(
                kernels(fused),
                scheduled,
                self._target,
                self._kernel_inputs(fused, folder),
                by,
                lambda done, total: self._tell({"stage": "verify", "done": done, "total": total}),
            )
        self._tell({"stage": "build"})
        return found

    def _samples(self, path: Path | None) -> list[list[np.ndarray]]:
        """The inputs in a file, in the order of the model's; none where there is no file."""
        from harness.files.arrays import read_arrays

        rows = read_arrays(path) if path else []
        return [[row[spec.name] for spec in self._imported.inputs] for row in rows]

    def _kernel_inputs(self, fused: tvm.IRModule, folder: Path) -> dict[str, Path]:
        """Files below `folder` with each kernel's inputs in an inference, by its name."""
        from harness.tuning.candidates.real_inputs import record_kernel_inputs

        samples = self._samples(self._order.inputs)
        if not samples:
            return {}
        return record_kernel_inputs(fused, self._here, self._threads, samples[0], folder)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder for temporary files."""
        with TemporaryDirectory(dir=self._order.work, prefix="kernels-") as folder:
            yield Path(folder)


def _throttled(tell: Tell) -> Callable[[object], None]:
    """Passes the tuner's progress on, a few times a second at most."""
    last = 0.0

    def listener(progress: object) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            tell({"tuning": asdict(progress)})  # type: ignore[call-overload]

    return listener


def _answer(message: Message, parent: Channel) -> Message:
    stage = MODEL_STAGES.get(message["do"])
    if stage is not None:
        parent.send({"stage": "import"})
        return stage(ImportOrder.model_validate(message["order"])).model_dump(mode="json")
    order = Order.model_validate(message["order"])
    return compile_cell(order, parent.send).model_dump(mode="json")


def main() -> None:
    parent = channel()
    for message in parent:
        try:
            answer = _answer(message, parent)
        except Exception as error:
            # Whatever a stage raises is this cell's failure; the sweep goes on.
            parent.send(
                {
                    "error": in_words(error),
                    "skipped": isinstance(error, CellSkipped),
                    "trace": "".join(traceback.format_exception(error)),
                }
            )
        else:
            parent.send({"answer": answer})


if __name__ == "__main__":
    main()
