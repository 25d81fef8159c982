"""The options of the step that quantizes a network's layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.specs.documents import (
    ONE_OR_SEVERAL,
    ONE_WORD_OR_SEVERAL,
    Count,
    Frozen,
    require_once,
)
from harness.specs.steps import StepOptions

WeightType = Literal["int8", "float16"]
ActivationType = Literal["int8", "float32"]
RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]
Rounding = Literal["nearest", "second-order"]
Ranges = Literal[RangeMethod, "auto"]
Roundings = Literal[Rounding, "auto"]

RANGE_METHODS: Mapping[RangeMethod, str] = {
    "minmax": "all values that were seen",
    "percentile": "all but one value in 10,000 on either side",
    "mse": "the range of the least squared error of the values",
    "entropy": "the range whose 256 levels tell most of the distribution",
}
"""How the range of a tensor is chosen from what calibration saw of it."""


Change = Annotated[float, Field(gt=0, lt=1)]


class Choice(Frozen):
    """One choice for each open option of the step."""

    ranges: Ranges
    rounding: Roundings
    max_change: float | None


class Quantize(StepOptions):
    """Which layers of a model compute in 8-bit integers: those that have an integer kernel on the
    target. Weights have a scale for each output, the data of a layer one scale and zero point.
    Several values of `ranges`, `rounding` or `max_change` make a cell each, named `name@mse`.
    With `activations: float32` layers compute in floats and read narrower weights; then only
    `weights` and `exclude` may stand beside it."""

    weights: WeightType = "int8"
    """The type of weights: `int8`, with a scale for each output, or `float16`, which takes
    `activations: float32`."""
    activations: ActivationType = "int8"
    """The type of data. With `float32` they are not rounded, and nothing is calibrated. That makes
    layers faster whose weights no cache holds, such as large dense layers at batch 1."""
    calibration: Count = 64
    """Inputs of the model that ranges, weights and biases are chosen on: of its `training` inputs,
    else of its labelled data, on which no configuration of the sweep is scored then."""
    ranges: Annotated[tuple[Ranges, ...], ONE_WORD_OR_SEVERAL, Field(min_length=1)] = ("auto",)
    """Of data: `minmax` (all values), `percentile` (all but one in 10,000 on either side), `mse`
    (least squared error), `entropy` (least divergence), or `auto`: for each value the one that
    changes the network's outputs least."""
    rounding: Annotated[tuple[Roundings, ...], ONE_WORD_OR_SEVERAL, Field(min_length=1)] = ("auto",)
    """Of weights: `nearest`; `second-order`, which makes up for the error of a weight with those
    that are not rounded yet; or `auto`: for each layer what is nearer to its outputs on inputs that
    neither was fitted to."""
    balance: bool = True
    """Divide the channels of data by factors and multiply weights by them, where that brings the
    outputs nearer."""
    bias: bool = True
    """Correct biases so that the means of a layer's outputs stay, where that brings the network's
    outputs nearer."""
    reduce_range: bool | Literal["auto"] = "auto"
    """Give weights 7 bits, which processors without `VPDPBUSD` multiply faster; `auto`: on
    those."""
    max_change: Annotated[tuple[Change, ...], ONE_OR_SEVERAL] = ()
    """How much the network's outputs may change, as a share of their size: layers go back to floats
    until that holds, first those that change them most for the time that they save."""
    exclude: tuple[str, ...] = ()
    """Layers that stay in floats, by name or with `*`."""

    @property
    def samples(self) -> int:
        return 0 if self.activations == "float32" else self.calibration

    @property
    def choice(self) -> Choice:
        """The choices of one cell."""
        (ranges,), (rounding,), (change,) = self.ranges, self.rounding, self.max_change or (None,)
        return Choice(ranges=ranges, rounding=rounding, max_change=change)

    @property
    def times_kernels(self) -> str | None:
        if not self.max_change:
            return None
        return "'max_change' weighs layers by kernel times; 'exclude' names layers instead"

    def decisive(self) -> dict[str, Any]:
        return self.model_dump()

    def variants(self) -> Mapping[str, Quantize]:
        """A cell for each combination; the choices of an option that has several end its name."""
        several = {name: getattr(self, name) for name in ("ranges", "rounding", "max_change")}
        several = {name: values for name, values in several.items() if len(values) > 1}
        return {
            "".join(f"@{_written(each)}" for each in chosen): self.model_copy(
                update={name: (each,) for name, each in zip(several, chosen, strict=True)}
            )
            for chosen in product(*several.values())
        }

    @model_validator(mode="after")
    def _weights_alone(self) -> Quantize:
        if self.activations != "float32":
            if self.weights != "int8":
                raise ValueError(
                    f"'weights: {self.weights}' takes 'activations: float32', found "
                    f"'activations: {self.activations}'"
                )
            return self
        given = self.model_dump(exclude_defaults=True)
        superfluous = sorted(given.keys() - {"weights", "activations", "exclude"})
        if superfluous:
            raise ValueError(
                f"with 'activations: float32' nothing is calibrated: leave out "
                f"{', '.join(map(repr, superfluous))}"
            )
        return self

    @field_validator("ranges", "rounding", "max_change")
    @classmethod
    def _once_each(cls, value: tuple[str | float, ...]) -> tuple[str | float, ...]:
        require_once([f"@{_written(each)}" for each in value])
        return value


def _written(option: str | float) -> str:
    return option if isinstance(option, str) else f"{option:g}"
