"""Runs the cells of a sweep that are not finished, and keeps each as soon as it is done.

Cells are built one by one, and measured in groups: all configurations of one model on one target,
baselines included, interleaved. Building, tuning and measuring never share the cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from harness.baselines.registry import reference_engine
from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure, CellSkipped, HarnessError, InputError
from harness.executors.executor import Executor
from harness.executors.table import executor_of
from harness.machine.environment import environment
from harness.measure.group import GroupSettings, GroupSubject
from harness.measure.member import Measured, Member
from harness.measure.room import require_room
from harness.measure.verification import OutputKind
from harness.models.tensors import TensorSpec
from harness.processes.template import template
from harness.records.artifact import (
    DESCRIPTION,
    Artifact,
    TensorDescription,
    compressed_network,
    reference_of,
)
from harness.records.record import Record, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.run.applicability import require_applicable, still_skipped
from harness.run.cell import Order
from harness.run.cell_inputs import CellInputs
from harness.run.cell_process import FAILURES, FORKED, IMPORTED, CellProcess
from harness.run.import_stage import SOURCE, ImportedModel, ImportOrder
from harness.run.listener import Listener
from harness.run.model_process import ModelProcess
from harness.run.plan import PlannedCell, PlannedGroup, plan, require_scored
from harness.run.recording import RecordWriter
from harness.run.results_folder import ARTIFACTS, WORK, scratch, scratch_in
from harness.specs.sweep import ModelSpec, Sweep
from harness.specs.target import TargetSpec
from harness.tuning.cluster.connection import require_cluster


@dataclass(frozen=True)
class Outcome:
    """How a sweep's cells ended."""

    records: tuple[Record, ...]
    ran: int
    """How many of them this run added."""

    @property
    def failed(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "failed")


def run_sweep(
    sweep: Sweep,
    out: Path,
    tuning_databases: Path,
    listener: Listener,
    *,
    retry_failed: bool = False,
    measure_again: bool = False,
    servers: Servers | None = None,
) -> Outcome:
    """Run the unfinished cells in `out`, and return the records of all cells.

    `tuning_databases` holds a folder for each target. Finished cells are not run again, but for
    failed ones where `retry_failed`, and where `measure_again` for good ones, which are verified
    and measured as they were built. `servers` says where the servers of targets that are reached
    by a key are found. The caller holds the folder (`harness.run.results_folder`).

    A model that cannot be read costs its own cells. Raises InputError for a sweep that cannot be
    planned, a cluster that cannot compile, or a folder that cannot be written; KeyboardInterrupt
    goes through with everything finished kept.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    with ModelProcess(sweep.limits, scratch(out)) as models:
        groups = plan(sweep, models, servers)
        if servers is not None and servers.build_cluster is not None:
            _prepare_cluster(servers.build_cluster, [group.target for group in groups], listener)
        with Store(out / FILE_NAME, create=True) as store:
            store.plan((cell.mark, cell.key) for group in groups for cell in group.cells)
            if others := store.others():
                listener.note(
                    f"{out} also holds the results of {others} cells of other sweeps, or of files "
                    "that were changed since; they are kept, and left out here"
                )
            wanted = {"failed": retry_failed, "ok": measure_again}
            done = {
                mark for mark, status in store.statuses().items() if not wanted.get(status, False)
            } - _skipped_no_more(groups, store.statuses(), servers)
            cells = [cell for group in groups for cell in group.cells]
            for remark in dict.fromkeys(each for group in groups for each in group.model.remarks):
                listener.note(remark)
            listener.planned(len(cells), sum(cell.mark in done for cell in cells))
            # Unreadable models are reported before hours are spent on others.
            pending = [
                group
                for group in sorted(groups, key=lambda group: group.refusal is None)
                if any(cell.mark not in done for cell in group.cells)
            ]
            with template(FORKED, IMPORTED) if pending else nullcontext():
                for group in pending:
                    _GroupRun(
                        sweep, group, out, tuning_databases, store, listener, done, servers
                    ).run()
            return Outcome(tuple(store.records()), sum(cell.mark not in done for cell in cells))


def _skipped_no_more(
    groups: Sequence[PlannedGroup], statuses: Mapping[str, str], servers: Servers | None
) -> set[str]:
    """Cells that were skipped for something that was missing, and is there now."""
    return {
        cell.mark
        for group in groups
        for cell in group.cells
        if statuses.get(cell.mark) == "skipped" and not still_skipped(cell, group, servers)
    }


def _prepare_cluster(address: str, targets: Sequence[TargetSpec], listener: Listener) -> None:
    """See that a cluster can compile for the targets that it compiles for, and say which it does
    not. Raises InputError."""
    elsewhere = [target for target in targets if executor_of(target).compiles_on_clusters]
    here = {target.name for target in targets if target not in elsewhere}
    triples = {target.tvm.mtriple for target in elsewhere}
    if here:
        listener.note(
            f"candidates for {', '.join(sorted(here))} are compiled on this machine: the cluster "
            "compiles for servers only"
        )
    if triples:
        require_cluster(address, triples)


class _GroupRun:
    """Takes the unfinished cells of one group through all stages."""

    def __init__(
        self,
        sweep: Sweep,
        group: PlannedGroup,
        out: Path,
        tuning_databases: Path,
        store: Store,
        listener: Listener,
        done: set[str],
        servers: Servers | None,
    ) -> None:
        self._servers = servers
        self._sweep = sweep
        self._group = group
        self._target = group.target
        self._executor: Executor = executor_of(group.target, servers)
        self._out = out
        work = out / WORK / fingerprint([group.model.fingerprint, group.model.name])
        self._work = work.absolute()
        self._inputs = CellInputs(group.model, self._work, sweep.seed)
        self._tuning_databases = tuning_databases
        self._store = store
        self._listener = listener
        self._process = CellProcess(sweep.limits, self._environment(), out / FAILURES, listener)
        self._pending = [cell for cell in group.cells if cell.mark not in done]
        self._companions = [
            cell
            for cell in group.cells
            if cell.mark in done and store.statuses().get(cell.mark) == "ok"
        ]

    def run(self) -> None:
        """Every pending cell has a record afterwards."""
        self._writer = RecordWriter(
            self._sweep, self._group, self._store, self._listener.finished, self._out / ARTIFACTS
        )
        self._writer.copied_to = self._work / SOURCE
        try:
            if self._group.refusal is not None:
                raise InputError(self._group.refusal)
            self._executor.require()
            self._target = self._writer.target = self._executor.described()
            self._executor = executor_of(self._target, self._servers)
            imported = self._import()
            for remark in imported.remarks:
                self._listener.note(f"model '{self._group.model.name}': {remark}")
            self._fit_data(imported)
        except (CellFailure, CellSkipped, InputError) as error:
            self._lose(self._pending, error)
            return
        members = self._members(imported)
        pending = {cell.mark for cell in self._pending}
        if any(found.mark in pending for found in members):
            self._judge(imported, members)

    def _lose(self, cells: Sequence[PlannedCell], error: HarnessError) -> None:
        """Record that cells did not get beyond the import."""
        for cell in cells:
            self._writer.lost(cell.key, cell.mark, "import", error, environment(), 0.0)

    def _import(self) -> ImportedModel:
        """The model as TVM imports it. Where that fails the cells of TVM are lost, and the other
        engines run the model nonetheless, and the returned model is for them."""
        try:
            return self._made("import")
        except CellFailure as error:
            self._lose([cell for cell in self._pending if cell.configuration is not None], error)
            self._pending = [cell for cell in self._pending if cell.configuration is None]
            if not self._pending:
                raise
            return self._made("prepare")

    def _made(self, do: str) -> ImportedModel:
        label = f"{self._group.model.name} · {self._target.name}"
        model = self._group.model
        order = ImportOrder(
            model=model.path,
            files=model.files,
            shapes=model.shapes,
            state=self._group.spec.state,
            work=self._work,
        )
        self._work.mkdir(parents=True, exist_ok=True)
        answer = self._process.carry_out(do, order.model_dump(mode="json"), label)
        imported = ImportedModel.model_validate(answer)
        require_room(model.path, _specs(imported.inputs), _specs(imported.outputs), self._sweep)
        return imported

    def _fit_data(self, imported: ImportedModel) -> None:
        """Check the model's data against its inputs and outputs, before anything is built. Raises
        InputError."""
        unscored = self._group.unscored
        model, remarks = self._group.model.fitted(
            _specs(imported.inputs), _specs(imported.outputs), imported.state, unscored + 1
        )
        require_scored(model, unscored)
        for remark in remarks:
            self._listener.note(remark)
        if model.task is not None:
            model.task.require()
        self._group = replace(self._group, model=model)
        self._inputs = CellInputs(model, self._work, self._sweep.seed)

    def _members(self, imported: ImportedModel) -> list[Member]:
        """The cells that are ready to be measured; builds unfinished ones, and records failures."""
        members = []
        pending = {cell.mark for cell in self._pending}
        for cell in [*self._pending, *self._companions]:
            started = monotonic()
            self._process.stage = "import"
            try:
                require_applicable(cell, self._group)
                if cell.mark in pending:
                    self._build(cell, imported)
                path = self._ready(cell, imported)
            except HarnessError as error:
                if cell.mark in pending:
                    seconds = monotonic() - started
                    self._writer.lost(
                        cell.key, cell.mark, self._process.stage, error, environment(), seconds
                    )
                continue
            self._writer.built(cell.mark, monotonic() - started)
            members.append(
                Member(
                    mark=cell.mark,
                    label=cell.label,
                    engine=cell.key.engine,
                    path=path,
                    wants_accuracy=cell.mark in pending,
                    reference=self._own_reference(cell),
                )
            )
        return members

    def _ready(self, cell: PlannedCell, imported: ImportedModel) -> Path:
        """The file that the cell's worker loads: a compiled artifact, or for another engine the
        model, or a compressed network.

        Raises InputError where a finished cell's artifact is gone: it is measured without it then;
        and CellFailure where the compressed network is not there.
        """
        if cell.network_of is not None:
            return compressed_network(self._artifact(cell.network_of), cell.key.configuration)
        if cell.configuration is None:
            return imported.runnable
        folder = self._artifact(cell.mark)
        Artifact.read(folder)
        return folder

    def _artifact(self, mark: str) -> Path:
        return self._out / ARTIFACTS / mark

    def _own_reference(self, cell: PlannedCell) -> Path | None:
        """The reference of a cell, where that is not the model itself."""
        folder = reference_of(self._artifact(cell.network_of or cell.mark))
        return folder if folder.exists() else None

    def _build(self, cell: PlannedCell, imported: ImportedModel) -> None:
        """Compile a cell of ours, unless a run that was killed later has done so already."""
        configuration, folder = cell.configuration, self._artifact(cell.mark)
        if configuration is None or (folder / DESCRIPTION).exists():
            return
        order = Order(
            model=imported.source,
            shapes=self._group.model.shapes,
            state=imported.state,
            work=self._work,
            target=self._target,
            configuration=configuration,
            seed=self._sweep.seed,
            tuning_database=self._tuning_databases / self._executor.tuning_folder,
            artifact=folder.absolute(),
            inputs=self._inputs.of_kernels(_specs(imported.inputs), imported.ranges),
            calibration=self._inputs.for_calibration(configuration),
            training=self._inputs.for_training(configuration),
            servers=self._servers,
        )
        message = order.model_dump(mode="json", by_alias=True)
        label = " · ".join(filter(None, (cell.key.model, str(cell.key.settings), cell.label)))
        self._process.carry_out("compile", message, label, configuration.tune)

    def _judge(self, imported: ImportedModel, members: Sequence[Member]) -> None:
        """Verify, measure and record built networks; without a device, record them as they are."""
        assert self._group.model.format is not None
        subject = GroupSubject(
            model=self._spec(imported),
            inputs=_specs(imported.inputs),
            output_tensors=_specs(imported.outputs),
            task=self._group.model.task,
            reference_engine=reference_engine(self._group.model.format),
            reference_path=imported.runnable,
            ranges=imported.ranges,
            outputs=tuple(
                OutputKind(each.name, each.name in imported.quantized) for each in imported.outputs
            ),
            state=imported.state,
            fingerprint=self._group.model.fingerprint,
        )
        paths = {found.mark: found.path for found in members}
        cells = [cell for cell in self._pending if cell.mark in paths]
        group = self._executor.group(self._settings(subject))
        found_environment = environment()
        if group is None:
            self._writer.compiled(cells, paths, found_environment)
            return
        try:
            measured = group.measure(members)
        except HarnessError as error:
            measured = {found.mark: Measured(failure=error, stage="verify") for found in members}
        self._writer.measured(cells, measured, paths, found_environment | group.machine)

    def _spec(self, imported: ImportedModel) -> ModelSpec:
        """The user's description of the model, with the path of the imported copy."""
        spec = self._group.spec
        return spec.model_copy(update={"path": imported.source}) if spec.path else spec

    def _environment(self) -> dict[str, str]:
        """Environment variables of the processes that build and measure."""
        return self._executor.environment() | scratch_in(scratch(self._out))

    def _settings(self, subject: GroupSubject) -> GroupSettings:
        return GroupSettings(
            subject=subject,
            measure=self._group.measure,
            limits=self._sweep.limits,
            threads=self._target.tvm.num_cores,
            streams=self._group.settings.streams,
            seed=self._sweep.seed,
            work=self._work,
            listener=lambda stage, label, done, total: self._listener.progress(
                f"{self._group.model.name} · {label}", stage, done, total
            ),
            unscored=self._group.unscored,
            environment=self._environment(),
        )


def _specs(found: Sequence[TensorDescription]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each.name, each.shape, each.dtype) for each in found)
