"""Makes a record of each cell's result, and commits it at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from harness.devices.graphics.static import static_of
from harness.errors import CellSkipped, HarnessError, printable
from harness.executors.table import executor_of
from harness.measure.member import Measured
from harness.records.artifact import Artifact
from harness.records.record import (
    OWN_ENGINE,
    CellKey,
    KernelTime,
    Latency,
    Memory,
    Record,
    Startup,
    StepEntries,
    Throughput,
)
from harness.records.store import INTERVALS, SECONDS, Store
from harness.run.plan import PlannedCell, PlannedGroup
from harness.specs.sweep import Sweep
from harness.specs.target import TargetSpec


class RecordWriter:
    """Writes the records of one group. `target` is the description with its measured roofs."""

    def __init__(
        self,
        sweep: Sweep,
        group: PlannedGroup,
        store: Store,
        told: Callable[[Record], None],
        artifacts: Path,
    ) -> None:
        self.target: TargetSpec = group.target
        self.copied_to: Path | None = None
        """The folder with the copy of the model that is imported."""
        self._sweep = sweep
        self._group = group
        self._store = store
        self._told = told
        self._artifacts = artifacts
        self._seconds: dict[str, float] = {}

    def built(self, mark: str, seconds: float) -> None:
        """Remember how long a cell took to build."""
        self._seconds[mark] = seconds

    def lost(
        self,
        key: CellKey,
        mark: str,
        stage: str,
        error: HarnessError,
        environment: Mapping[str, Any],
        seconds: float,
    ) -> None:
        """Record a cell that did not get to be measured."""
        skipped = isinstance(error, CellSkipped)
        self._commit(
            self._base(key, mark, environment, seconds)
            | {
                "status": "skipped" if skipped else "failed",
                "stage": None if skipped else stage,
                "reason": printable(self._as_named(str(error))),
            }
        )

    def measured(
        self,
        cells: Sequence[PlannedCell],
        found: Mapping[str, Measured],
        paths: Mapping[str, Path],
        environment: Mapping[str, Any],
    ) -> None:
        """Record the cells of a measured group; all share one session and its raw samples."""
        session = uuid4().hex[:16]
        whole = {mark: each for mark, each in found.items() if each.failure is None}
        series = {
            SECONDS: {mark: each.samples for mark, each in whole.items() if each.samples},
            INTERVALS: {mark: each.intervals for mark, each in whole.items() if each.intervals},
        }
        for cell in cells:
            each = found[cell.mark]
            seconds = self._seconds.get(cell.mark, 0.0)
            if each.failure is not None:
                self.lost(cell.key, cell.mark, each.stage, each.failure, environment, seconds)
                continue
            fields = self._base(cell.key, cell.mark, environment, seconds)
            if each.instructions is not None:
                fields |= _compiled(Artifact.read(paths[cell.mark])) | {
                    "accuracy": each.accuracy,
                    "verification": each.verification,
                    "instructions": each.instructions,
                    "artifact": f"artifacts/{cell.mark}",
                }
                self._commit(fields | {"status": "ok"})
                continue
            fields |= _results(each, paths[cell.mark], cell.key.engine)
            if cell.configuration is not None:
                fields["artifact"] = f"artifacts/{cell.mark}"
            if cell.network_of is not None:
                fields |= _entries(Artifact.read(self._artifacts / cell.network_of))
            self._commit(fields | {"status": "ok", "session": session}, series)

    def compiled(
        self,
        cells: Sequence[PlannedCell],
        paths: Mapping[str, Path],
        environment: Mapping[str, Any],
    ) -> None:
        """Record cells that were compiled for a device that is not here."""
        for cell in cells:
            seconds = self._seconds.get(cell.mark, 0.0)
            artifact = Artifact.read(paths[cell.mark])
            fields = self._base(cell.key, cell.mark, environment, seconds) | _compiled(artifact)
            fields["static"] = static_of(artifact, self.target.hardware)
            self._commit(fields | {"status": "ok", "artifact": f"artifacts/{cell.mark}"})

    def _base(
        self, key: CellKey, mark: str, environment: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        configuration = next(
            (found for found in self._sweep.cells if found.name == key.configuration), None
        )
        model = self._group.model
        return {
            "fingerprint": mark,
            "key": key,
            "kind": executor_of(self.target).kind,
            "spec": {
                "model": self._group.spec.model_dump(mode="json")
                | {
                    "fingerprint": model.fingerprint,
                    "licence": model.licence,
                    "format": model.format,
                    "no_accuracy_because": model.task_missing_reason,
                },
                "target": self.target.model_dump(mode="json", by_alias=True),
                "configuration": configuration.model_dump(mode="json") if configuration else None,
                "measure": self._group.measure.model_dump(mode="json"),
                "limits": self._sweep.limits.model_dump(mode="json"),
                "seed": self._sweep.seed,
                "threads": self.target.tvm.num_cores,
            },
            "environment": dict(environment),
            "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
        }

    def _as_named(self, reason: str) -> str:
        """A reason, with the model where the user has it."""
        if self.copied_to is None:
            return reason
        path = self._group.model.path
        prepared = self.copied_to.parent / f"prepared{path.suffix}"
        reason = reason.replace(str(prepared), str(path))
        return reason.replace(str(self.copied_to), str(path.parent))

    def _commit(
        self, fields: dict[str, Any], series: Mapping[str, Mapping[str, list[float]]] | None = None
    ) -> None:
        """Store a record, with the samples of its session by quantity and cell."""
        record = Record.model_validate(fields)
        self._store.write(record, series)
        self._told(record)


def _results(measured: Measured, path: Path, engine: str) -> dict[str, Any]:
    """The fields of a record that measuring fills."""
    from harness.statistics.samples import summarise  # SciPy takes a second to import

    summary = summarise(1e3 * np.asarray(measured.samples))
    latency = Latency(
        median_ms=summary.median,
        p90_ms=summary.p90,
        p99_ms=summary.p99,
        ci_low_ms=summary.ci_low,
        ci_high_ms=summary.ci_high,
        samples=summary.samples,
        runs_per_sample=measured.runs_per_sample,
    )
    fields: dict[str, Any] = {
        "latency": latency,
        "startup": _startup(measured),
        "inferences": measured.inferences,
        "throughput": _throughput(measured),
        "accuracy": measured.accuracy,
        "verification": measured.verification,
    }
    process = {"peak_rss_mb": measured.peak_rss_mb, "base_rss_mb": measured.base_rss_mb}
    if engine != OWN_ENGINE:
        return fields | {"memory": Memory(artifact_mb=path.stat().st_size / 1e6, **process)}
    artifact = Artifact.read(path)
    kernels = tuple(
        KernelTime(
            name=kernel.name,
            calls=kernel.calls,
            median_us=1e6 * float(np.median(measured.kernel_seconds[kernel.name])),
            flops=kernel.flops,
            bytes=kernel.bytes,
            layers=kernel.layers,
        )
        for kernel in artifact.kernels
        if kernel.name in measured.kernel_seconds
    )
    outside = measured.outside_seconds  # of which nothing is known over RPC
    return fields | {
        **_compiled(artifact, process),
        "kernels": kernels,
        "outside_kernels_us": max(0.0, 1e6 * float(np.median(outside))) if outside else None,
    }


def _throughput(measured: Measured) -> Throughput | None:
    from harness.statistics.samples import summarise

    if not measured.intervals:
        return None
    found = summarise(np.asarray(measured.intervals))
    return Throughput(
        per_second=1 / found.median, ci_low=1 / found.ci_high, ci_high=1 / found.ci_low
    )


def _startup(measured: Measured) -> Startup | None:
    if measured.load_seconds is None or measured.first_seconds is None:
        return None
    return Startup(load_ms=1e3 * measured.load_seconds, first_ms=1e3 * measured.first_seconds)


def _entries(artifact: Artifact) -> dict[str, Any]:
    """What steps did to the network."""
    return {key: getattr(artifact, key) for key in StepEntries.model_fields}


def _compiled(
    artifact: Artifact, process: Mapping[str, float | None] | None = None
) -> dict[str, Any]:
    """The fields of a record that compiling fills, with the memory of the process that ran it."""
    return {
        "memory": Memory(
            weights_mb=artifact.weights_mb,
            activation_mb=artifact.activation_mb,
            artifact_mb=artifact.artifact_mb,
            **(process or {}),
        ),
        **_entries(artifact),
        "fusion": artifact.fusion,
        "tuning": artifact.tuning,
        "loops": artifact.loops,
        "memory_safety": artifact.memory_safety,
    }
