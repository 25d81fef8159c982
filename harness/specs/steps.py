"""The options of a step: what a step of a configuration asks for beside the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness.specs.documents import Frozen


@dataclass(frozen=True)
class StepModule:
    """Marks a key of a configuration as a step, done by the module `name`: its `apply` transforms
    the network by the key's options, and its `REVISION` dates the transformation."""

    name: str


class StepOptions(Frozen):
    """Options of a step. The defaults are those of a step that takes nothing but the network."""

    @property
    def samples(self) -> int:
        """How many inputs of the model the step takes, on which no cell is scored then."""
        return 0

    @property
    def trains(self) -> bool:
        """Whether the step takes all training inputs."""
        return False

    @property
    def times_kernels(self) -> str | None:
        """Why the step measures kernels on the target, and what to ask for where that is not
        possible; None where it measures none."""
        return None

    def decisive(self) -> dict[str, Any]:
        """The options that decide the resulting network; they are in the cell's fingerprint."""
        return self.model_dump()

    def variants(self) -> Mapping[str, Self]:
        """The options of each cell, by the suffix of its name; one cell as a rule."""
        return {"": self}
