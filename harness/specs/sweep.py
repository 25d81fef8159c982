"""A sweep as the user writes it: its models and its configurations.

Every class here is frozen and validated; an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.errors import InputError
from harness.files.regular import expanded
from harness.specs.documents import ONE_OR_SEVERAL, Amount, Count, Frozen, Name, read_document
from harness.specs.patterns import PATTERNS, Pattern, of_every, traits_of
from harness.specs.scores import SCORES, Score
from harness.specs.settings import AXES, Settings, Threads
from harness.specs.steps import StepModule, StepOptions

FusionLevel = Literal["none", "elementwise", "full"]
Kind = Literal["measured", "emulated-count", "static"]

Spending = Literal["uniform", "edges", "latency"]
Sparsity = Annotated[float, Field(gt=0, lt=1)]


class Tune(Frozen):
    """How much tuning a configuration gets: a number of trials, or minutes; exactly one."""

    trials: Count | None = None
    minutes: Annotated[Amount, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> Tune:
        if (self.trials is None) == (self.minutes is None):
            raise ValueError("give a budget as either 'trials: N' or 'minutes: N'")
        return self


class Finetune(Frozen):
    """How a network is fitted to the dense one once edges are gone: `epochs` times through the
    model's training inputs, or through the calibration samples where it has none. In several
    `stages` the network loses some of its edges, is fitted, loses more of those that matter least
    then, and so on, with as many epochs in all."""

    epochs: Count = 20
    stages: Count = 1
    learning_rate: Annotated[Amount, Field(gt=0)] = 0.01
    """Of Adam, at the start; it falls to 0 along a cosine."""
    batch: Count = 32
    layers: Annotated[Amount, Field(ge=0)] = 0
    """Weight of the mean distance of the fitted layers' outputs in the loss, beside the distance of
    the network's outputs. The layers' outputs for a batch are then kept twice more."""
    crops: Annotated[float, Field(gt=0, le=1)] = 1
    """Images are also seen in parts, of at least this share of their height and width."""

    @model_validator(mode="after")
    def _every_stage_has_an_epoch(self) -> Finetune:
        if self.stages > self.epochs:
            raise ValueError(
                f"{self.stages} stages need as many epochs at least, found {self.epochs}"
            )
        return self

    @property
    def epochs_of_stages(self) -> list[int]:
        """The epochs of each stage; the last has those that are left."""
        each = self.epochs // self.stages
        return [each] * (self.stages - 1) + [self.epochs - each * (self.stages - 1)]


class Edges(StepOptions):
    """Which edges of a model are dropped: those that `score` least, in a pattern that the hardware
    can make use of, up to a share of `sparsity` of each layer's weights. In a `block` an input's
    edges to a vector of outputs go together, in a `wide-block` those to two. The pattern `channel`
    drops that share of the channels of each group that goes only together; shapes shrink. `N:M`
    keeps N of every M neighbouring inputs for each vector of outputs: its sparsity is 1 - N/M.

    With the budget `uniform` each layer is as sparse as the others. Otherwise layers differ, to
    lose as little as can be: together they have no more `edges`, or by the times that were measured
    of each on the target no more `latency`, than if each were as sparse as asked.
    Several sparsities make one cell each, named `name@0.8`. `shuffle` is a control: as many edges
    of each layer, but others. `reconstruct` fits the other weights to the layer's former outputs on
    `calibration` inputs of the model; `finetune` then fits the whole network to its former outputs.
    `exclude` names layers that stay as they are, or says which with `*`: `*/shortcut/*`. `merge`
    then has fewer edges compute the same, where some can. Before all that `bypass` leaves out the
    branches of residual connections without which the outputs move by no more than such a share.
    """

    score: Score = "magnitude"
    pattern: Pattern = "block"
    sparsity: Annotated[tuple[Sparsity, ...], ONE_OR_SEVERAL, Field(min_length=1)]
    budget: Spending = "uniform"
    shuffle: bool = False
    reconstruct: bool = False
    finetune: Finetune | None = None
    calibration: Count = 64
    exclude: tuple[str, ...] = ()
    merge: bool = False
    bypass: Annotated[float, Field(gt=0, lt=1)] | None = None

    def decisive(self) -> dict[str, Any]:
        """The options that decide the resulting network."""
        return self.model_dump(exclude={"finetune"} if self.finetune is None else None)

    def variants(self) -> Mapping[str, Edges]:
        """One cell for each sparsity; `@0.8` ends its name where there are several."""
        if len(self.sparsity) == 1:
            return {"": self}
        return {
            f"@{each:g}": self.model_copy(update={"sparsity": (each,)}) for each in self.sparsity
        }

    @property
    def needs_data(self) -> bool:
        """Whether compressing takes inputs of the model."""
        return self.looks_inside or self.trains or self.bypass is not None

    @property
    def samples(self) -> int:
        return self.calibration if self.needs_data else 0

    @property
    def trains(self) -> bool:
        return self.finetune is not None

    @property
    def times_kernels(self) -> str | None:
        if self.budget != "latency":
            return None
        return "a budget of latency is spent by kernel times; use the budget 'edges' or 'uniform'"

    @property
    def looks_inside(self) -> bool:
        """Whether it takes the layers' inputs for them."""
        return self.reconstruct or SCORES[self.score].needs_data

    @property
    def shares(self) -> list[float]:
        """How much of its sparsity a layer has after each stage: much at first, when there is much
        that hardly matters [Zhu].

        Sources
        -------
        [Zhu]  M. Zhu and S. Gupta, To prune, or not to prune: exploring the efficacy of pruning for
               model compression, ICLR 2018, section 3.
        """
        stages = self.finetune.stages if self.finetune else 1
        return [1 - (1 - stage / stages) ** 3 for stage in range(1, stages + 1)]

    @model_validator(mode="after")
    def _stages_go_with_pattern(self) -> Edges:
        if len(self.shares) == 1:
            return self
        if not traits_of(self.pattern).staged:
            staged = ", ".join(f"'{name}'" for name, traits in PATTERNS.items() if traits.staged)
            raise ValueError(f"edges go in stages of the patterns {staged}; found '{self.pattern}'")
        if self.shuffle:
            raise ValueError("'shuffle' does not go in stages: leave 'stages' or 'shuffle' out")
        return self

    @field_validator("sparsity")
    @classmethod
    def _sparsities_once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        _require_once([f"@{each:g}" for each in value])
        return value

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_every(cls, value: Any) -> Any:
        counts = of_every(str(value.get("pattern"))) if isinstance(value, dict) else None
        if counts is None or "sparsity" in value:
            return value
        return {**value, "sparsity": 1 - counts[0] / counts[1]}

    @model_validator(mode="after")
    def _sparsity_goes_with_pattern(self) -> Edges:
        counts = of_every(self.pattern)
        if counts is not None and self.sparsity != (1 - counts[0] / counts[1],):
            raise ValueError(
                f"the pattern '{self.pattern}' has a sparsity of {1 - counts[0] / counts[1]:g}: "
                f"leave 'sparsity' out, found {', '.join(f'{each:g}' for each in self.sparsity)}"
            )
        return self

    @model_validator(mode="after")
    def _budget_goes_with_blocks(self) -> Edges:
        if self.budget != "uniform" and not traits_of(self.pattern).budgeted:
            names = [f"'{name}'" for name, traits in PATTERNS.items() if traits.budgeted]
            raise ValueError(
                f"the budget '{self.budget}' is spent on blocks: expected the pattern "
                f"{' or '.join(names)}, found '{self.pattern}'"
            )
        return self


class Configuration(Frozen):
    """The transformations of a model before it runs. Steps are applied in the order of their keys
    here."""

    name: Name
    fusion: FusionLevel = "full"
    edges: Annotated[Edges | None, StepModule("harness.edges.step")] = None
    tune: Tune | None = None

    @property
    def steps(self) -> dict[str, StepOptions]:
        """The options of the steps that it has, by key, in their order."""
        found = {key: getattr(self, key) for key in STEP_MODULES}
        return {key: options for key, options in found.items() if options is not None}

    def cells(self) -> tuple[Configuration, ...]:
        """This configuration, or one for each combination of its steps' variants."""
        each = [
            [(key, suffix, options) for suffix, options in found.variants().items()]
            for key, found in self.steps.items()
        ]
        return tuple(
            self.model_copy(
                update={
                    "name": self.name + "".join(suffix for _, suffix, _ in chosen),
                    **{key: options for key, _, options in chosen},
                }
            )
            for chosen in product(*each)
        )


STEP_MODULES = {
    key: mark.name
    for key, field in Configuration.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, StepModule)
}
"""The module of each step, by its key in a configuration, in the order of the steps."""


class ModelSpec(Frozen):
    """A model of a sweep: a catalog name, or a file with its shapes, data and metric.

    `shapes` maps an input's name to its static shape. `data` is an `.npz` with the arrays
    `inputs` (or one array per input, named as the input) and `labels`; `metric` is how outputs are
    scored against the labels: a name of `harness.models.accuracy.metrics`, or `module:function` of
    a module that is installed or on PYTHONPATH (see `harness.models.accuracy.own_metric`).
    `training` is an `.npz` of other inputs, without labels, to compress the model's edges by.
    `layeredge models show NAME` describes `data` and `training` of a catalog model. `batch` is the
    extent of the inputs' first dimensions where the file leaves them free.
    """

    name: Name
    path: Path | None = None
    shapes: dict[str, tuple[Count, ...]] = Field(default_factory=dict)
    data: Path | None = None
    metric: str | None = None
    training: Path | None = None
    batch: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """A bare text is a path when it looks like one, else a catalog name."""
        if isinstance(value, str):
            if "/" in value or Path(value).suffix in {".onnx", ".pt2", ".tflite"}:
                stem = re.sub(r"[^A-Za-z0-9._@+-]", "-", Path(value).stem)
                return {"name": stem, "path": value}
            return {"name": value}
        return value


class Measure(Frozen):
    """How long and how often to measure.

    A round runs every artifact of a group; each run gives one latency sample, which is
    the median over as many back-to-back runs as last at least `sample_ms`, or one run if that is
    longer. Rounds go on until there are `repeats` of them and `min_seconds` have passed.
    """

    repeats: Annotated[int, Field(ge=6, le=100_000)] = 30
    min_seconds: Annotated[Amount, Field(ge=0, le=86_400)] = 2.0
    sample_ms: Annotated[Amount, Field(ge=0, le=60_000)] = 5.0
    verify_inputs: Count = 4
    accuracy_samples: Count | None = None


class Limits(Frozen):
    """Limits of one cell's child process. A process beyond them is stopped, and the cell fails."""

    cell_minutes: Annotated[Amount, Field(gt=0)] = 30.0
    memory_mb: Annotated[Count, Field(ge=256)] = 8192


class Sweep(Frozen):
    """A sweep: each model on each target in each configuration, and the baselines beside them.

    With several values of `batch` or `threads`, each combination has cells of its own; see
    `harness.specs.settings`.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Name = "sweep"
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("x86-host",)
    configurations: Annotated[tuple[Configuration, ...], Field(min_length=1)]
    baselines: tuple[str, ...] = ("reference",)
    batch: Annotated[tuple[Count, ...], ONE_OR_SEVERAL] = ()
    threads: Annotated[tuple[Threads, ...], ONE_OR_SEVERAL] = ()
    measure: Measure = Measure()
    limits: Limits = Limits()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def cells(self) -> tuple[Configuration, ...]:
        """The configurations, those with several sparsities as one for each."""
        return tuple(cell for found in self.configurations for cell in found.cells())

    @property
    def settings(self) -> tuple[Settings, ...]:
        """Each combination of values of the axes."""
        values = [getattr(self, name) or (None,) for name in AXES]
        return tuple(Settings(**dict(zip(AXES, found, strict=True))) for found in product(*values))

    @property
    def calibration(self) -> int:
        """How many inputs of a model, the first ones, some configuration is calibrated on. Where
        they are of its labelled data, no configuration is scored on them."""
        steps = (options for found in self.configurations for options in found.steps.values())
        return max((options.samples for options in steps), default=0)

    @field_validator("models", "configurations")
    @classmethod
    def _unique_names(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        cells = [item.cells() if isinstance(item, Configuration) else (item,) for item in value]
        _require_once([item.name for group in cells for item in group])
        return value

    @field_validator("targets", "baselines", *AXES)
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        _require_once([str(each) for each in value])
        return value

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Read a sweep file; relative paths in it are relative to the file.

        Raises InputError with file, line and the nearest known key.
        """
        sweep = read_document(path, cls)

        def absolute(found: Path | None) -> Path | None:
            return _absolute(found, path) if found else None

        models = tuple(
            model.model_copy(
                update={
                    "path": absolute(model.path),
                    "data": absolute(model.data),
                    "training": absolute(model.training),
                }
            )
            for model in sweep.models
        )
        targets = tuple(
            str(absolute(Path(target))) if is_path_of_target(target) else target
            for target in sweep.targets
        )
        return sweep.model_copy(update={"models": models, "targets": targets})

    def with_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Sweep:
        """This sweep with input shapes set for its models that are files."""
        models = tuple(
            model.model_copy(update={"shapes": {**model.shapes, **shapes}}) if model.path else model
            for model in self.models
        )
        return self.model_copy(update={"models": models})


def _require_once(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"the name '{twice[0]}' is given twice; names tell results apart")


def _absolute(found: Path, source: Path) -> Path:
    """A path that a file names, relative to that file. Raises InputError for one that is none."""
    try:
        path = source.parent / expanded(found)
        return path.resolve()
    except (InputError, ValueError) as error:  # a user without a home folder, a NUL
        raise InputError(f"{source}: '{found}' is not a path: {error}") from None
    except (RuntimeError, OSError):  # links in a circle, which opening the file reports
        return path.absolute()


def is_path_of_target(target: str) -> bool:
    """Whether a target is named by the path of its description."""
    return "/" in target or target.endswith((".yaml", ".yml"))


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes from `name=1,3,224,224` texts. Raises InputError for anything else."""
    shapes = {}
    for text in texts:
        name, equals, extents = text.rpartition("=")
        try:
            shape = tuple(int(extent) for extent in extents.split(","))
        except ValueError:
            shape = ()
        if not equals or not name or not shape or not all(0 < each < 2**31 for each in shape):
            raise InputError(f"--shape {text}: expected NAME=1,3,224,224 with positive numbers")
        shapes[name] = shape
    return shapes
