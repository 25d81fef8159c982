"""A sweep as the user writes it: its models and its configurations.

Every class here is frozen and validated; an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from harness.errors import InputError
from harness.files.regular import expanded
from harness.specs.documents import (
    ONE_OR_SEVERAL,
    Amount,
    Count,
    Frozen,
    Name,
    read_document,
    require_once,
)
from harness.specs.edges import Edges
from harness.specs.quantization import Quantize
from harness.specs.settings import AXES, Settings, Streams, Threads
from harness.specs.steps import StepModule, StepOptions

FusionLevel = Literal["none", "elementwise", "full"]
Kind = Literal["measured", "emulated-count", "static"]


class Tune(Frozen):
    """How much tuning a configuration gets: exactly one of the two."""

    trials: Count | None = None
    """Schedules to measure, over all kernels of the network."""
    minutes: Annotated[Amount, Field(gt=0)] | None = None
    """Minutes of tuning."""

    @model_validator(mode="after")
    def _one_budget(self) -> Tune:
        if (self.trials is None) == (self.minutes is None):
            raise ValueError("give a budget as either 'trials: N' or 'minutes: N'")
        return self


class Configuration(Frozen):
    """The transformations of a model before it runs. Steps are applied in the order of their keys
    here."""

    name: Name
    """Name in results and plots. Variants of a step end it, as in `sparse@0.8`."""
    fusion: FusionLevel = "full"
    """`none`: a kernel for each operator. `elementwise`: one for each chain of elementwise
    operators. `full`: elementwise operators run in the kernel of the convolution, dense layer or
    reduction before them, and paddings and transposes in their neighbour's."""
    edges: Annotated[Edges | None, StepModule("harness.edges.step")] = None
    """Drop edges. `{}` is all defaults but `sparsity`, which is required."""
    quantize: Annotated[Quantize | None, StepModule("harness.quantization.step")] = None
    """Compute layers in 8-bit integers. `{}` is all defaults."""
    tune: Tune | None = None
    """Tune the kernels; without it they have default schedules."""

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
    """A model of a sweep. A text stands for it: a name of the catalog, or the path of a file."""

    name: Name
    """Name in results and plots; the name of a catalog model where there is no `path`."""
    path: Path | None = None
    """File of the model: `.onnx`, `.tflite`, or `.pt2` by `torch.export`."""
    shapes: dict[str, tuple[Count, ...]] = Field(default_factory=dict)
    """Static shape of each input that has free dimensions, as in `{x: [1, 3, 224, 224]}`."""
    data: Path | None = None
    """Labelled data: an `.npz` with `labels` and either `inputs` or an array for each input, of its
    name. `layeredge models show NAME` says what a catalog model takes."""
    metric: str | None = None
    """How outputs are scored against labels: a name of `layeredge models list --help`, or
    `module:function` of a module that is installed or on PYTHONPATH."""
    training: Path | None = None
    """Other inputs, without labels, that steps are calibrated on and fine-tuned with: an `.npz`."""
    batch: Count | None = None
    """Extent of the inputs' first dimensions where the file leaves them free; 1 if not given."""
    state: dict[str, str] = Field(default_factory=dict)
    """Inputs that are an output of the inference before, as in `{h: hn}`. `data` and `training`
    leave them out: they begin with zeros. An exported network keeps them."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(schema))]}

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """A bare text is a path when it looks like one, else a catalog name."""
        if isinstance(value, str):
            if "/" in value or Path(value).suffix in {".onnx", ".pt2", ".tflite"}:
                stem = re.sub(r"[^A-Za-z0-9._@+-]", "-", Path(value).stem)
                return {"name": stem, "path": value}
            return {"name": value}
        if not isinstance(value, (dict, cls)):
            raise ValueError(f"expected a name, a path or keys such as `path`, found {value!r}")
        return value


class Measure(Frozen):
    """How long and how often to measure.

    A round runs every artifact of a group; each run gives one latency sample, which is
    the median over as many back-to-back runs as last at least `sample_ms`, or one run if that is
    longer. Rounds go on until there are `repeats` of them and `min_seconds` have passed.
    """

    repeats: Annotated[int, Field(ge=6, le=100_000)] = 30
    """Least number of rounds. The 99th percentile takes 100."""
    min_seconds: Annotated[Amount, Field(ge=0, le=86_400)] = 2.0
    """Least time of all rounds of a group, in seconds."""
    sample_ms: Annotated[Amount, Field(ge=0, le=60_000)] = 5.0
    """Least time of a sample, in milliseconds: the median of as many runs as that takes."""
    processes: Annotated[int, Field(ge=1, le=100)] = 2
    """Processes that run an artifact one after the other, each in its share of the rounds: in some
    processes the same code is a few percent slower than in others."""
    verify_inputs: Count = 4
    """Inputs on which outputs are compared with the reference's."""
    accuracy_samples: Count | None = None
    """Labelled samples to score, from the front of the data; all if not given."""


class Limits(Frozen):
    """Limits of one cell's child process. A process beyond them is stopped, and the cell fails."""

    cell_minutes: Annotated[Amount, Field(gt=0)] = 30.0
    """Most minutes of each stage of a cell, such as build; tuning has its own budget besides."""
    memory_mb: Annotated[Count, Field(ge=256)] = 8192
    """Most resident memory of its processes, in MB of 10⁶ bytes."""


class Sweep(Frozen):
    """A sweep: each model on each target in each configuration, and the baselines beside them.

    With several values of `batch`, `threads` or `streams`, each combination has cells of its own.
    """

    schema_version: Literal[1] = Field(alias="schema")
    """Version of this format."""
    name: Name = "sweep"
    """Title of the report."""
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    """Names of the catalog, paths of files, or mappings with more keys."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("x86-host",)
    """Names of `layeredge targets list`, or paths of hardware descriptions. `x86-host` is this
    machine."""
    configurations: Annotated[tuple[Configuration, ...], Field(min_length=1)]
    """What is done to each model before it is compiled."""
    baselines: tuple[str, ...] = ("reference",)
    """Engines to compare with: `onnxruntime`, `openvino`, `torch`, `litert`, or `reference`, the
    one of the model's format. `onnxruntime-int8` and `openvino-int8` run the network of each
    configuration with `quantize`, written as ONNX. `[]` for none."""
    batch: Annotated[tuple[Count, ...], ONE_OR_SEVERAL] = ()
    """Batches; each has cells of its own. They set the inputs' first dimensions where those are
    free."""
    threads: Annotated[tuple[Threads, ...], ONE_OR_SEVERAL] = ()
    """Numbers of threads; each has cells of its own. All cores of the target if not given."""
    streams: Annotated[tuple[Streams, ...], ONE_OR_SEVERAL] = ()
    """Numbers of copies of a network that run side by side; each has cells of its own, with their
    throughput. They share the cores of the target out, or have `threads` threads each."""
    measure: Measure = Measure()
    """How long and how often to measure."""
    limits: Limits = Limits()
    """Limits of time and memory."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of drawn inputs, of tuning and of training."""

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
        require_once([item.name for group in cells for item in group])
        return value

    @field_validator("targets", "baselines", *AXES)
    @classmethod
    def _once_each(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        require_once([str(each) for each in value])
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
