"""One cell, from model file to compiled network: the life of a configuration, stage by stage.

    import → canonicalise → compress, merge edges → layout, sparse lowering → fuse → tune → build

What follows, `verify → measure → record`, takes all cells of a model and target together and is in
`harness.measure.group` and `harness.sweep`; but schedules for a device that is not here are
verified in the build, kernel by kernel. This module runs in a child process (`python -m
harness.cell`), because every stage of it may crash, hang or eat memory.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.artifact import Artifact, TensorDescription, reference_of
from harness.child import Channel, Message, channel
from harness.devices.tracker import Servers
from harness.documents import Frozen
from harness.errors import CellSkipped, HarnessError
from harness.spec import Configuration
from harness.target_spec import TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from harness.edges.calibration import Calibration
    from harness.edges.costs import Prices
    from harness.edges.layers import Layer
    from harness.models.imported import Imported
    from harness.record import KernelVerification
    from harness.tvm_api import tvm

_PROGRESS_SECONDS = 0.3


class Order(Frozen):
    """What a cell's child process is asked to do. Folders are absolute."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    work: Path
    target: TargetSpec
    configuration: Configuration
    seed: int
    tuning_database: Path
    artifact: Path
    inputs: Path | None = None
    """Inputs of the model, as `harness.measure.inputs` writes them, to verify kernels on."""
    calibration: Path | None = None
    """Others, to compress the model's edges by; no configuration is scored on those."""
    training: Path | None = None
    """More of those, to fine-tune on."""
    servers: Servers | None = None
    """Where the servers of the target's key are found."""


class ImportOrder(Frozen):
    """What the child of a model's first stage is asked to do."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    work: Path


class ImportedModel(Frozen):
    """What importing says of a model: its tensors, and the file that other engines run."""

    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    runnable: Path


Tell = Callable[[Message], None]


def import_stage(order: ImportOrder) -> ImportedModel:
    """Import a model once, to know its inputs and to have the static file for the baselines."""
    from harness.models.imported import import_model

    imported = import_model(order.model, order.shapes, order.work)
    return ImportedModel(
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.inputs),
        outputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.outputs),
        runnable=imported.prepared or order.model,
    )


def compile_cell(order: Order, tell: Tell) -> Artifact:
    """The compiled network of one cell, in `order.artifact`.

    Raises InputError and CellFailure. `tell` hears the stage and the tuner's progress.
    """
    from harness.build import build
    from harness.devices.loop_throughput import loop_throughputs
    from harness.edges.bypass import bypass
    from harness.edges.compress import compress
    from harness.edges.merging import merge
    from harness.edges.patterns import require_pattern
    from harness.hardware.workplace import working_target
    from harness.models.imported import import_model
    from harness.passes.adapt import adapt
    from harness.passes.canonicalise import canonicalise
    from harness.passes.fusion import fuse, summarise
    from harness.passes.vectors import vector_lanes
    from harness.tuning.database import TuningDatabase, database_of
    from harness.tuning.measurers import measurer_for
    from harness.tuning.rivals import slower_when_sparse
    from harness.tuning.tuner import Tuner, tasks_of
    from harness.tvm_api import is_graphics, target_of

    configuration, spec = order.configuration, order.target
    target, here = target_of(spec.tvm.as_tvm()), working_target(spec)

    tell({"stage": "import"})
    imported = import_model(order.model, order.shapes, order.work)
    tell({"stage": "canonicalise"})
    canonical, edges = canonicalise(imported.module), None
    if configuration.edges is not None:
        require_pattern(configuration.edges.pattern, spec, vector_lanes(target))
        samples, bypassed = _samples(order.calibration, imported), 0
        if configuration.edges.bypass is not None:
            tell({"stage": "bypass"})
            canonical, bypassed = bypass(
                canonical,
                configuration.edges.bypass,
                samples,
                target_of(here.as_tvm()),
                here.num_cores,
            )
        canonical, edges = compress(
            canonical,
            configuration.edges,
            vector_lanes(target),
            order.seed,
            _calibrated(canonical, samples, order) if samples else None,
            _samples(order.training, imported) or samples,
            tell,
            _appraiser(order, tell),
        )
        edges = edges.model_copy(
            update={
                "parameters": edges.parameters + bypassed,
                "parameters_bypassed": bypassed,
            }
        )
        _build_reference(canonical, imported, order)
        if configuration.edges.merge:
            tell({"stage": "merge"})
            canonical, edges = merge(canonical, edges, vector_lanes(target))
    adapted = adapt(canonical, spec.passes, target)
    tell({"stage": "fuse"})
    fused = fuse(adapted, configuration.fusion)

    tuning, database = None, database_of([], {})
    if configuration.tune is not None:
        tell({"stage": "tune"})
        with (
            TuningDatabase(order.tuning_database) as found,
            TemporaryDirectory(dir=order.work, prefix="kernels-") as folder,
        ):
            tasks = tasks_of(fused, target, _kernel_inputs(order, fused, imported, Path(folder)))
            tuning = Tuner(
                tasks,
                target,
                here.num_cores if is_graphics(target) else spec.tvm.num_cores,
                found,
                configuration.tune,
                order.seed,
                _throttled(tell),
                measurer_for(
                    spec, here.num_cores, _footprint(fused, spec), Path(folder), order.servers
                ),
            ).run()
            slower = (
                slower_when_sparse(
                    canonical,
                    fused,
                    tasks,
                    configuration.fusion,
                    spec,
                    found.chosen(),
                    _footprint(fused, spec),
                    lambda done, total: tell({"stage": "weigh", "done": done, "total": total}),
                )
                if edges is not None and spec.device.kind == "local"
                else None
            )
            if slower:
                adapted = adapt(canonical, spec.passes, target, slower)
                fused = fuse(adapted, configuration.fusion)
                tasks = tasks_of(fused, target)
            database = database_of([task.module for task in tasks], found.chosen())

    tell({"stage": "build"})
    return build(
        fused,
        target,
        spec.tvm.num_cores,
        database,
        imported,
        summarise(adapted, fused),
        tuning,
        order.artifact,
        edges,
        spec.hardware.multiprocessor,
        _schedule_verifier(order, fused, imported, tell) if spec.device.kind == "static" else None,
        partial(loop_throughputs, spec) if spec.device.kind == "emulated" else None,
    )


def _samples(path: Path | None, imported: Imported) -> list[list[np.ndarray]]:
    """The inputs in a file, in the order of the model's; none where there is no file."""
    from harness.measure.inputs import read_arrays

    rows = read_arrays(path) if path else []
    return [[row[spec.name] for spec in imported.inputs] for row in rows]


def _calibrated(
    canonical: tvm.IRModule, samples: list[list[np.ndarray]], order: Order
) -> Callable[[list[Layer]], Calibration]:
    from harness.edges.calibration import Calibration
    from harness.hardware.workplace import working_target
    from harness.tvm_api import target_of

    here = working_target(order.target)
    target, threads = target_of(here.as_tvm()), here.num_cores
    return lambda layers: Calibration(canonical, layers, samples, target, threads)


def _appraiser(order: Order, tell: Tell) -> Callable[[list[Layer]], Prices]:
    from harness.edges.costs import measured_prices
    from harness.tuning.database import TuningDatabase

    def appraise(layers: list[Layer]) -> Prices:
        tell({"stage": "appraise"})
        with (
            TuningDatabase(order.tuning_database) as database,
            TemporaryDirectory(dir=order.work, prefix="layers-") as folder,
        ):
            return measured_prices(
                layers, order.target, database, Path(folder), order.seed, _throttled(tell)
            )

    return appraise


def _build_reference(canonical: tvm.IRModule, imported: Imported, order: Order) -> None:
    """Compile a compressed network as plainly as can be, to verify the cell against: what the
    model's own runtime gives is another network's output. No kernel is fused, sparse or tuned."""
    from harness.build import build
    from harness.hardware.workplace import working_target
    from harness.passes.fusion import fuse, summarise
    from harness.tuning.database import database_of
    from harness.tvm_api import target_of

    plain, here = fuse(canonical, "none"), working_target(order.target)
    build(
        plain,
        target_of(here.as_tvm()),
        here.num_cores,
        database_of([], {}),
        imported,
        summarise(canonical, plain),
        None,
        reference_of(order.artifact),
    )


def _kernel_inputs(
    order: Order, fused: tvm.IRModule, imported: Imported, folder: Path
) -> dict[str, Path]:
    from harness.hardware.workplace import working_target
    from harness.measure.inputs import read_arrays
    from harness.tuning.real_inputs import record_kernel_inputs
    from harness.tvm_api import target_of

    if order.inputs is None:
        return {}
    feeds, here = read_arrays(order.inputs)[0], working_target(order.target)
    return record_kernel_inputs(
        fused,
        target_of(here.as_tvm()),
        here.num_cores,
        [feeds[spec.name] for spec in imported.inputs],
        folder,
    )


def _schedule_verifier(
    order: Order, fused: tvm.IRModule, imported: Imported, tell: Tell
) -> Callable[[tvm.IRModule], KernelVerification | None]:
    """What verifies a network's schedules for a device that is not here, where PoCL is there."""
    from harness.devices.pocl import pocl_version
    from harness.passes.fusion import kernels
    from harness.tuning.opencl_verification import verify_schedules
    from harness.tvm_api import target_of

    def verify(scheduled: tvm.IRModule) -> KernelVerification | None:
        by = pocl_version()
        if by is None:
            return None
        tell({"stage": "verify"})
        with TemporaryDirectory(dir=order.work, prefix="kernels-") as folder:
            found = verify_schedules(
                kernels(fused),
                scheduled,
                target_of(order.target.tvm.as_tvm()),
                _kernel_inputs(order, fused, imported, Path(folder)),
                by,
                lambda done, total: tell({"stage": "verify", "done": done, "total": total}),
            )
        tell({"stage": "build"})
        return found

    return verify


def _footprint(fused: tvm.IRModule, spec: TargetSpec) -> float:
    """The size of a network's weights in bytes where they do not stay in the second-level caches
    from one inference to the next, otherwise 0."""
    from harness.build import weights_bytes

    if spec.tvm.kind == "cuda":
        return 0.0
    size, caches = weights_bytes(fused), 1024 * (spec.hardware.l2_kb or 0) * spec.tvm.num_cores
    return float(size) if size > caches / 2 else 0.0


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
    if message["do"] == "import":
        parent.send({"stage": "import"})
        return import_stage(ImportOrder.model_validate(message["order"])).model_dump(mode="json")
    order = Order.model_validate(message["order"])
    return compile_cell(order, parent.send).model_dump(mode="json")


def main() -> None:
    parent = channel()
    for message in parent:
        try:
            answer = _answer(message, parent)
        except Exception as error:
            # Whatever a stage raises is this cell's failure; the sweep goes on.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            words = f"{type(error).__name__}: {lines[-1] if lines else error!r}"
            parent.send(
                {
                    "error": str(error) if isinstance(error, HarnessError) else words,
                    "skipped": isinstance(error, CellSkipped),
                    "trace": "".join(traceback.format_exception(error)),
                }
            )
        else:
            parent.send({"answer": answer})


if __name__ == "__main__":
    main()
