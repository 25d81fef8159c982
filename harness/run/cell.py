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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.devices.servers.tracker import Servers
from harness.errors import CellSkipped, in_words, is_of_full_disk
from harness.executors.executor import Executor
from harness.executors.table import executor_of
from harness.processes.child import Channel, Message, channel
from harness.records.artifact import Artifact, StateTensor
from harness.run.import_stage import MODEL_STAGES, ImportOrder
from harness.run.steps import steps_of
from harness.specs.documents import Frozen
from harness.specs.sweep import Configuration
from harness.specs.target import TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from harness.compiler.api import tvm
    from harness.models.imported import Imported
    from harness.networks.context import Context

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
        from harness.run.verification_stage import Verification

        self._order = order
        self._executor = executor
        self._imported = imported
        self._tell = tell
        here = executor.working_target()
        self._here, self._threads = target_of(here.as_tvm()), here.num_cores
        self._context = self._new_context(target_of(order.target.tvm.as_tvm()))
        self._verification = Verification(
            imported, self._context, executor, order.artifact, order.work
        )

    def compiled(self) -> Artifact:
        """All stages."""
        from harness.building.network import Made, build
        from harness.passes.canonicalise import canonicalise
        from harness.passes.fusion import summarise
        from harness.passes.roundings import roundings
        from harness.run.tuning_stage import tuned
        from harness.tuning.database import database_of

        order, context, verification = self._order, self._context, self._verification
        configuration = order.configuration
        self._tell({"stage": "canonicalise"})
        canonical = canonicalise(self._imported.module, self._imported.layer_names)
        entries = {}
        for key, options, step in steps_of(configuration):
            canonical, entry = step.apply(canonical, context, options)
            if entry is not None:
                entries[key] = entry
        fused = partial(self._fused, canonical)
        networks, tuning, database = fused(), None, database_of([], {})
        if tune := configuration.tune:
            networks, tuning, database = tuned(
                canonical,
                networks,
                fused,
                tune,
                context,
                self._executor,
                compressed=bool(configuration.steps),
            )
        self._tell({"stage": "build"})
        network = networks[1]
        made = Made(self._imported, summarise(*networks), tuning, entries)
        threads, checks = order.target.tvm.num_cores, verification.scrutiny(network)
        artifact = build(network, context.target, threads, database, order.artifact, made, checks)
        if entries and roundings(canonical):
            verification.require_right_kernels(network)
        return artifact

    def _new_context(self, target: tvm.target.Target) -> Context:
        from harness.networks.context import Context

        order = self._order
        return Context(
            spec=order.target,
            target=target,
            here=self._here,
            threads=self._threads,
            seed=order.seed,
            state=bool(self._imported.state),
            fusion=order.configuration.fusion,
            inputs=lambda: self._samples(order.inputs),
            calibration=lambda: self._samples(order.calibration),
            training=lambda: self._samples(order.training),
            tuning_database=order.tuning_database,
            folder=self._folder,
            kernel_inputs=self._kernel_inputs,
            keep_reference=lambda network: self._verification.build_reference(network),
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

        order, target = self._order, self._context.target
        adapted = adapt(canonical, order.target.passes, target, dense)
        self._tell({"stage": "fuse"})
        return adapted, fuse(adapted, order.configuration.fusion, target)

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
                    "full": is_of_full_disk(error),
                    "trace": "".join(traceback.format_exception(error)),
                }
            )
        else:
            parent.send({"answer": answer})


if __name__ == "__main__":
    main()
