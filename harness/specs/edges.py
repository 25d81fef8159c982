"""The options of the step that compresses a network's edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from harness.specs.documents import ONE_OR_SEVERAL, Amount, Count, Frozen, require_once
from harness.specs.patterns import PATTERNS, Pattern, of_every, traits_of
from harness.specs.scores import SCORES, Score
from harness.specs.steps import StepOptions

Spending = Literal["uniform", "edges", "latency"]
Sparsity = Annotated[float, Field(gt=0, lt=1)]


class Finetune(Frozen):
    """How a network is fitted to the dense one once edges are gone: on the model's training inputs,
    or on the calibration inputs where it has none. Needs the extra `torch`."""

    epochs: Count = 20
    """How many times through the inputs, in all stages together."""
    stages: Count = 1
    """In several, the network loses some of its edges, is fitted, loses more of those that matter
    least then, and so on."""
    learning_rate: Annotated[Amount, Field(gt=0)] = 0.01
    """Of Adam, at the start; it falls to 0 along a cosine."""
    batch: Count = 32
    """Samples of a step."""
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
    """Which edges of a model are dropped, and how what that costs is repaired: edges go first, then
    the others are fitted, then they are merged."""

    score: Score = "magnitude"
    """How much edges matter: by `magnitude`, `activation`, `gradient` or `second-order` loss;
    `random` is a control."""
    pattern: Pattern = "block"
    """Which edges go together. `block`: an input's to a vector of outputs; `wide-block`: to two
    vectors; `quad-block`: four neighbouring inputs' to a vector, which pays beside `quantize`;
    `channel`: all of a channel, so that shapes shrink; `unstructured`: each by itself; `'2:4'` and
    other `'N:M'` keep N of every M neighbouring inputs for each vector of outputs."""
    sparsity: Annotated[tuple[Sparsity, ...], ONE_OR_SEVERAL, Field(min_length=1)]
    """Share of each layer's weights that goes, between 0 and 1. Several make a cell each, named
    `name@0.8`. `N:M` decides it: leave it out then."""
    budget: Spending = "uniform"
    """`uniform`: each layer is as sparse as asked. `edges` and `latency`: layers differ, so that as
    little as possible is lost, with no more edges, or no more measured time, than if each were."""
    shuffle: bool = False
    """A control: as many edges of each layer, but others."""
    reconstruct: bool = False
    """Fit the weights that are left to the layer's former outputs on calibration inputs."""
    finetune: Finetune | None = None
    """Fit the whole network to its former outputs. `{}` is all defaults."""
    calibration: Count = 64
    """Inputs of the model that scores and fitting look at: of its `training` inputs, else of its
    labelled data, on which no configuration of the sweep is scored then."""
    exclude: tuple[str, ...] = ()
    """Layers that stay as they are, by name or with `*`, as in `'*/shortcut/*'`."""
    merge: bool = False
    """Have fewer edges compute the same, where some can."""
    bypass: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Before all that, leave out branches of residual connections without which the outputs move by
    no more than such a share."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler.resolve_ref_schema(handler(schema))
        return {**found, "required": []}  # a pattern N:M has its sparsity

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
        require_once([f"@{each:g}" for each in value])
        return value

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_every(cls, value: Any) -> Any:
        counts = of_every(str(value.get("pattern"))) if isinstance(value, dict) else None
        if counts is None or "sparsity" in value:
            return value
        # A pattern that drops nothing is refused for that alone.
        share = 1 - counts[0] / counts[1]
        return {**value, "sparsity": share if share > 0 else 0.5}

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
