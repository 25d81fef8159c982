"""What a sweep comes to: its cells, and the fingerprints by which a finished one is known again."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harness.baselines.registry import engine_named
from harness.hardware import load_target, target_fingerprint
from harness.models.catalog import resolve
from harness.models.resolved import ResolvedModel
from harness.record import BASELINE_CONFIGURATION, RECORD_SCHEMA, CellKey, fingerprint
from harness.spec import Configuration, ModelSpec, Sweep, TargetSpec

TVM = "tvm"
"""Our own engine's name in a record."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell to run: its names, its fingerprint, and for our own engine its configuration."""

    key: CellKey
    mark: str
    configuration: Configuration | None


@dataclass(frozen=True)
class PlannedGroup:
    """The cells of one model on one target."""

    spec: ModelSpec
    model: ResolvedModel
    target: TargetSpec
    cells: tuple[PlannedCell, ...]


def plan(sweep: Sweep, *, fetch_missing: bool = True) -> list[PlannedGroup]:
    """All cells of a sweep, grouped. Fetches catalog models that are not there yet.

    Raises InputError for a name, file or engine that does not exist.
    """
    for engine in sweep.baselines:
        engine_named(engine)
    targets = [_with_threads(load_target(name), sweep.measure.threads) for name in sweep.targets]
    groups = []
    for spec in sweep.models:
        model = resolve(spec, fetch_missing=fetch_missing)
        for target in targets:
            groups.append(PlannedGroup(spec, model, target, _cells(sweep, model, target)))
    return groups


def _with_threads(target: TargetSpec, threads: int | None) -> TargetSpec:
    if threads is None:
        return target
    tvm = target.tvm.model_copy(update={"num_cores": threads})
    return target.model_copy(update={"tvm": tvm})


def _cells(sweep: Sweep, model: ResolvedModel, target: TargetSpec) -> tuple[PlannedCell, ...]:
    common = {
        "schema": RECORD_SCHEMA,
        "model": model.fingerprint,
        "shapes": model.shapes,
        "target": target_fingerprint(target),
        "passes": target.passes.model_dump(),
        "device": target.device.model_dump(),
        "measure": sweep.measure.model_dump(),
        "seed": sweep.seed,
    }
    if sweep.calibration:
        common["calibration"] = sweep.calibration  # what no configuration is scored on

    def cell(engine: str, name: str, configuration: Configuration | None) -> PlannedCell:
        decisive = _decisive(configuration) if configuration else None
        mark = fingerprint(
            {
                **common,
                "names": [model.name, target.name, name, engine],
                "configuration": decisive,
                "engine": _engine_version(engine),
            }
        )
        key = CellKey(model=model.name, target=target.name, configuration=name, engine=engine)
        return PlannedCell(key, mark, configuration)

    ours = [cell(TVM, found.name, found) for found in sweep.cells]
    others = [cell(engine, BASELINE_CONFIGURATION, None) for engine in sweep.baselines]
    return (*ours, *others)


def _decisive(configuration: Configuration) -> dict[str, Any]:
    """What of a configuration decides a result. Without compressed edges it is what it was before
    there were any, so that what was finished then is known again."""
    found = configuration.model_dump(exclude={"name"})
    if configuration.edges is None:
        del found["edges"]
    return found


def _engine_version(engine: str) -> str | None:
    """The installed version of what an engine's name stands for; None when it is not installed."""
    packages = {TVM: "apache-tvm", "litert": "ai-edge-litert"}
    try:
        return version(packages.get(engine, engine))
    except PackageNotFoundError:
        return None
