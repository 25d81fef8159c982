"""The cells of a sweep, and the fingerprints by which finished ones are recognised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from harness.baselines.registry import ENGINES, REFERENCE, baseline_named, reference_engine
from harness.devices.servers.tracker import Servers
from harness.errors import CellSkipped, InputError
from harness.executors.table import placed
from harness.files.installed import installed_version
from harness.hardware import load_target, require_known_processor, target_fingerprint
from harness.models.catalog.entries import ensure_fetched, entry
from harness.models.data.task import SAMPLES_REVISION
from harness.records.record import (
    BASELINE_CONFIGURATION,
    OWN_ENGINE,
    RECORD_SCHEMA,
    CellKey,
    fingerprint,
)
from harness.run.model_process import KnownModel, ModelProcess
from harness.run.steps import steps_of
from harness.specs.settings import Settings
from harness.specs.sweep import STEP_MODULES, Configuration, Measure, ModelSpec, Sweep
from harness.specs.target import TargetSpec


@dataclass(frozen=True)
class PlannedCell:
    """One cell to run: its names, its fingerprint, and for our own engine its configuration.

    `network_of` is the mark of the cell whose compressed network another engine runs, written as
    ONNX; None where that runs the model.
    """

    key: CellKey
    mark: str
    configuration: Configuration | None
    network_of: str | None = None

    @property
    def label(self) -> str:
        """The configuration's name, and before it that of an engine other than ours."""
        if self.configuration is not None:
            return self.configuration.name
        return f"{self.key.engine} {self.key.configuration}" if self.network_of else self.key.engine


@dataclass(frozen=True)
class PlannedGroup:
    """The cells of one model on one target with the same `settings`."""

    spec: ModelSpec
    model: KnownModel
    target: TargetSpec
    settings: Settings
    cells: tuple[PlannedCell, ...]
    measure: Measure
    unscored: int
    """How many samples of the model's labelled data, the first ones, no cell is scored on."""
    refusal: str | None = None
    """Why the model cannot be read. Its cells fail; those of other models do not."""


def plan(sweep: Sweep, models: ModelProcess, servers: Servers | None = None) -> list[PlannedGroup]:
    """All cells of a sweep, grouped; `models` reads their files. Fetches catalog models that are
    not there yet. `servers` says where the tracker is, if there is one.

    Raises InputError for a name or engine that does not exist, for a target whose processor LLVM
    does not know, and where none of the models can be read.
    """
    _require_baselines(sweep)
    targets = [_known_target(name) for name in sweep.targets]
    _require_own_names(targets)
    groups = []
    for named in sweep.models:
        if named.path is None:
            entry(named.name)
        found: dict[int | None, _Found] = {}
        for target, settings in product(targets, sweep.settings):
            batch = settings.batch
            if batch not in found:
                found[batch] = _find(_with_batch(named, batch), sweep, models)
            here = placed(with_threads(target, settings), servers)
            groups.append(_group(sweep, found[batch], here, settings))
    refusals = [group.refusal for group in groups if group.refusal is not None]
    if len(refusals) == len(groups):
        raise InputError("\n".join(dict.fromkeys(refusals)))
    return groups


def _require_baselines(sweep: Sweep) -> None:
    for name in sweep.baselines:
        quantized = name != REFERENCE and baseline_named(name)[1]
        if quantized and not any(_is_quantized(each) for each in sweep.cells):
            raise InputError(
                f"baselines: '{name}' runs the networks of configurations with 'quantize', and "
                "none has it"
            )


def _is_quantized(configuration: Configuration) -> bool:
    return "quantize" in configuration.steps


def require_scored(model: KnownModel, unscored: int) -> None:
    """Raises InputError where nothing is left to score on, before an hour is spent on tuning."""
    if unscored and model.task is not None and model.samples <= unscored:
        raise InputError(
            f"{model.name}: its network is compressed by {unscored} of its labelled inputs, on "
            f"which nothing is scored then, and it has {model.samples}; expected a smaller "
            "'calibration', more 'data', or 'training' inputs of their own"
        )


def _require_own_names(targets: Sequence[TargetSpec]) -> None:
    for name, count in Counter(target.name for target in targets).items():
        if count > 1:
            raise InputError(
                f"{count} targets of the sweep are called '{name}'; names tell results apart"
            )


@dataclass(frozen=True)
class _Found:
    """A model with a batch, and how many of its samples are not scored; or why it cannot be
    read."""

    spec: ModelSpec
    model: KnownModel
    unscored: int = 0
    refusal: str | None = None


def _find(spec: ModelSpec, sweep: Sweep, models: ModelProcess) -> _Found:
    try:
        if spec.path is None:
            ensure_fetched(spec.name)
        model = models.find(spec, sweep.calibration + 1)
        unscored = 0 if model.training else sweep.calibration
        require_scored(model, unscored)
    except (InputError, CellSkipped) as error:
        return _Found(spec, _unread(spec, str(error)), refusal=str(error))
    return _Found(spec, model, unscored)


def _group(sweep: Sweep, found: _Found, target: TargetSpec, settings: Settings) -> PlannedGroup:
    cells = _cells(sweep, found, target, settings)
    return PlannedGroup(
        found.spec,
        found.model,
        target,
        settings,
        cells,
        sweep.measure,
        found.unscored,
        found.refusal,
    )


def _with_batch(spec: ModelSpec, batch: int | None) -> ModelSpec:
    return spec if batch is None else spec.model_copy(update={"batch": batch})


def _unread(spec: ModelSpec, reason: str) -> KnownModel:
    """A model of which nothing is known but that it cannot be read."""
    about = {"spec": spec.model_dump(mode="json"), "unread": reason}
    return KnownModel(
        name=spec.name,
        path=spec.path or Path(spec.name),
        format=None,
        shapes=dict(spec.shapes),
        fingerprint=fingerprint(about),
    )


def _known_target(name: str) -> TargetSpec:
    target = load_target(name)
    require_known_processor(target, name)
    return target


def with_threads(target: TargetSpec, settings: Settings) -> TargetSpec:
    """The target with the cores that one network runs on."""
    threads = settings.threads
    if threads is None:
        if settings.streams is None:
            return target
        threads = max(1, target.tvm.num_cores // settings.streams)
    tvm = target.tvm.model_copy(update={"num_cores": threads})
    return target.model_copy(update={"tvm": tvm})


def _cells(
    sweep: Sweep, found: _Found, target: TargetSpec, settings: Settings
) -> tuple[PlannedCell, ...]:
    model, unscored = found.model, found.unscored
    common = {
        "schema": RECORD_SCHEMA,
        "model": model.fingerprint,
        "shapes": model.shapes,
        "target": target_fingerprint(target),
        "passes": target.passes.model_dump(),
        "device": target.device.model_dump(),
        "measure": sweep.measure.model_dump(),
        "settings": settings.given,
        "seed": sweep.seed,
    }
    if found.spec.state:
        common["state"] = found.spec.state
    if unscored:
        common |= {"calibration": unscored, "samples": SAMPLES_REVISION}

    def cell(
        engine: str,
        name: str,
        configuration: Configuration | None = None,
        network_of: str | None = None,
    ) -> PlannedCell:
        decisive = _decisive(configuration, model) if configuration else network_of
        mark = fingerprint(
            {
                **common,
                "names": [model.name, target.name, name, engine],
                "configuration": decisive,
                "engine": _engine_version(engine),
            }
        )
        key = CellKey(
            model=model.name,
            target=target.name,
            configuration=name,
            engine=engine,
            settings=settings,
        )
        return PlannedCell(key, mark, configuration, network_of)

    ours = [cell(OWN_ENGINE, each.name, each) for each in sweep.cells]
    others = []
    for engine, quantized in _baselines(sweep, model):
        if quantized:
            others += [
                cell(engine, each.key.configuration, network_of=each.mark)
                for each in ours
                if each.configuration and _is_quantized(each.configuration)
            ]
        else:
            others.append(cell(engine, BASELINE_CONFIGURATION))
    return (*ours, *others)


def _baselines(sweep: Sweep, model: KnownModel) -> list[tuple[str, bool]]:
    """The baselines that a model is compared with, each once, as of `baseline_named`. None stands
    for the reference of a model that cannot be read."""
    reference = None if model.format is None else reference_engine(model.format)
    named = (reference if name == REFERENCE else name for name in sweep.baselines)
    return list(dict.fromkeys(baseline_named(name) for name in named if name is not None))


def _decisive(configuration: Configuration, model: KnownModel) -> dict[str, Any]:
    """The parts of a configuration that decide a model's result. Steps that it does not use are
    left out, so that cells that were finished before there was such a step are known again."""
    found = configuration.model_dump(exclude={"name", *STEP_MODULES})
    for key, options, step in steps_of(configuration):
        found[key] = options.decisive() | {"revision": step.revision}
        if options.samples and model.training:
            found["training"] = model.training.fingerprint
    return found


def _engine_version(engine: str) -> str | None:
    """The installed version of an engine; None when it is not installed."""
    return installed_version("apache-tvm" if engine == OWN_ENGINE else ENGINES[engine].package)
