"""The options of the step that compresses a network's edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.specs.documents import ONE_OR_SEVERAL, Amount, Count, Frozen, require_once
from harness.specs.patterns import PATTERNS, Pattern, of_every, traits_of
from harness.specs.scores import SCORES, Score
from harness.specs.steps import StepOptions

Spending = Literal["uniform", "edges", "latency"]
Sparsity = Annotated[float, Field(gt=0, lt=1)]


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
    edges to a vector of outputs go together, in a `wide-block` those to two; in a `quad-block`
    those of four neighbouring inputs, which pays beside `quantize`. The pattern `channel` drops
    that share of the channels of each group that goes only together; shapes shrink. `N:M` keeps N
    of every M neighbouring inputs for each vector of outputs: its sparsity is 1 - N/M.

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
        require_once([f"@{each:g}" for each in value])
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
