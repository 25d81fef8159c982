"""What a sweep comes to: its cells, and the fingerprints by which a finished one is known again."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from harness.baselines.registry import engine_named
from harness.devices import placed
from harness.devices.tracker import Servers
from harness.errors import InputError
from harness.hardware import load_target, require_known_processor, target_fingerprint
from harness.models.catalog import resolve
from harness.models.resolved import ResolvedModel
from harness.models.task import SAMPLES_REVISION
from harness.record import BASELINE_CONFIGURATION, RECORD_SCHEMA, CellKey, fingerprint
from harness.spec import Configuration, ModelSpec, Sweep
from harness.target_spec import TargetSpec

TVM = "tvm"
"""Our own engine's name in a record."""
_EDGES_REVISION = 3
"""To be raised when dropping edges comes to another network than before, so that no sweep has cells
of both."""


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
    unscored: int
    """How many samples of the model's labelled data, the first ones, no cell is scored on."""


def plan(
    sweep: Sweep, servers: Servers | None = None, *, fetch_missing: bool = True
) -> list[PlannedGroup]:
    """All cells of a sweep, grouped. Fetches catalog models that are not there yet. `servers` says
    where the tracker is, if there is one.

    Raises InputError for a name, file or engine that does not exist, and for a target whose
    processor LLVM does not know.
    """
    for engine in sweep.baselines:
        engine_named(engine)
    targets = [
        placed(_with_threads(_known_target(name), sweep.measure.threads), servers)
        for name in sweep.targets
    ]
    groups = []
    for spec in sweep.models:
        model = resolve(spec, fetch_missing=fetch_missing)
        unscored = 0 if model.training else sweep.calibration
        require_scored(model, unscored)
        for target in targets:
            cells = _cells(sweep, model, target, unscored)
            groups.append(PlannedGroup(spec, model, target, cells, unscored))
    return groups


def require_scored(model: ResolvedModel, unscored: int) -> None:
    """Raises InputError where nothing is left to score on, before an hour is spent on tuning."""
    if not unscored or model.task is None:
        return
    found = len(model.task.inputs(unscored + 1))
    if found <= unscored:
        raise InputError(
            f"{model.name}: edges are compressed by {unscored} of its labelled inputs, on which "
            f"nothing is scored then, and it has {found}; expected a smaller 'calibration', more "
            "'data', or 'training' inputs of their own"
        )


def _known_target(name: str) -> TargetSpec:
    target = load_target(name)
    require_known_processor(target, name)
    return target


def _with_threads(target: TargetSpec, threads: int | None) -> TargetSpec:
    if threads is None:
        return target
    tvm = target.tvm.model_copy(update={"num_cores": threads})
    return target.model_copy(update={"tvm": tvm})


def _cells(
    sweep: Sweep, model: ResolvedModel, target: TargetSpec, unscored: int
) -> tuple[PlannedCell, ...]:
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
    if unscored:
        common |= {"calibration": unscored, "samples": SAMPLES_REVISION}

    def cell(engine: str, name: str, configuration: Configuration | None) -> PlannedCell:
        decisive = _decisive(configuration, model) if configuration else None
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


def _decisive(configuration: Configuration, model: ResolvedModel) -> dict[str, Any]:
    """What of a configuration decides a model's result. What it does not use is left out, so that
    what was finished before there was such a thing is known again."""
    found = configuration.model_dump(exclude={"name"})
    edges = configuration.edges
    if edges is None:
        del found["edges"]
        return found
    found["edges"]["revision"] = _EDGES_REVISION
    if edges.finetune is None:
        del found["edges"]["finetune"]
    if edges.needs_data and model.training:
        found["training"] = model.training.fingerprint
    return found


def _engine_version(engine: str) -> str | None:
    """The installed version of what an engine's name stands for; None when it is not installed."""
    packages = {TVM: "apache-tvm", "litert": "ai-edge-litert"}
    try:
        return version(packages.get(engine, engine))
    except PackageNotFoundError:
        return None
