"""The scores of edges by name. Each has a module of its name in `harness.edges.scores`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from harness.errors import did_you_mean


@dataclass(frozen=True)
class ScoreTraits:
    """Traits of a score: `needs_data` if it takes inputs of the model, `of_outputs` if it takes the
    network's outputs for them; `control` if it knows nothing of the network, so that others are
    held against it."""

    summary: str
    needs_data: bool = False
    of_outputs: bool = False
    control: bool = False


SCORES: Mapping[str, ScoreTraits] = {
    "magnitude": ScoreTraits("the square of the group's norm"),
    "activation": ScoreTraits("the same, each weight times the norm of its input", needs_data=True),
    "gradient": ScoreTraits(
        "the effect on the network's outputs, to first order", needs_data=True, of_outputs=True
    ),
    "second-order": ScoreTraits(
        "the loss of the layer's output when the other weights make up for the group",
        needs_data=True,
    ),
    "random": ScoreTraits("a control that knows nothing", control=True),
}


def _known(found: str) -> str:
    if found not in SCORES:
        raise ValueError(f"'{found}' is not known{did_you_mean(found, SCORES)}")
    return found


Score = Annotated[str, AfterValidator(_known)]
