"""The options of the step that quantizes a network's layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harness.specs.documents import ONE_WORD_OR_SEVERAL, Count, Frozen, require_once
from harness.specs.steps import StepOptions

RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]
Rounding = Literal["nearest", "second-order"]
Ranges = RangeMethod | Literal["auto"]
Roundings = Rounding | Literal["auto"]

RANGE_METHODS: Mapping[RangeMethod, str] = {
    "minmax": "all values that were seen",
    "percentile": "all but one value in 10,000 on either side",
    "mse": "the range of the least squared error of the values",
    "entropy": "the range whose 256 levels tell most of the distribution",
}
"""How the range of a tensor is chosen from what calibration saw of it."""


class Choice(Frozen):
    """One choice for each open option of the step."""

    ranges: Ranges
    rounding: Roundings


class Quantize(StepOptions):
    """Which layers of a model compute in 8-bit integers: those that have an integer kernel on the
    target, but for the ones that `exclude` names. Weights have a scale for each output, the data
    of a layer one scale and zero point.

    `calibration` inputs of the model tell the ranges of the data, chosen by `ranges`; `auto` takes
    for each tensor the method that moves the network's outputs least. `rounding` to `nearest`
    rounds each weight by itself; `second-order` makes up for the error of a weight with those that
    are not rounded yet; `auto` takes for each layer what is nearer to its outputs on inputs that
    neither was fitted to. `balance` divides the channels of data by factors, and multiplies weights
    by them, where that brings the outputs nearer: channels that are large no longer take the steps
    of small ones. `bias` adds to each bias by how much the mean of an output moved.
    `reduce_range` gives weights 7 bits, which processors without `VPDPBUSD` multiply faster; `auto`
    does so on those. Of several `ranges` or `rounding`, each combination makes a cell of its own,
    named `name@mse`.
    """

    calibration: Count = 64
    ranges: Annotated[tuple[Ranges, ...], ONE_WORD_OR_SEVERAL, Field(min_length=1)] = ("auto",)
    rounding: Annotated[tuple[Roundings, ...], ONE_WORD_OR_SEVERAL, Field(min_length=1)] = ("auto",)
    balance: bool = True
    bias: bool = True
    reduce_range: bool | Literal["auto"] = "auto"
    exclude: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        return self.calibration

    @property
    def choice(self) -> Choice:
        """The choices of one cell."""
        (ranges,), (rounding,) = self.ranges, self.rounding
        return Choice(ranges=ranges, rounding=rounding)

    def decisive(self) -> dict[str, Any]:
        return self.model_dump()

    def variants(self) -> Mapping[str, Quantize]:
        """A cell for each combination; the choices of an option that has several end its name."""
        found = {}
        for ranges, rounding in product(self.ranges, self.rounding):
            suffix = "".join(
                f"@{chosen}"
                for chosen, all_of in ((ranges, self.ranges), (rounding, self.rounding))
                if len(all_of) > 1
            )
            found[suffix] = self.model_copy(update={"ranges": (ranges,), "rounding": (rounding,)})
        return found

    @field_validator("ranges", "rounding")
    @classmethod
    def _once_each(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        require_once(list(value))
        return value
