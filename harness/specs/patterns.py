"""The patterns in which edges are kept or dropped, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from harness.errors import did_you_mean

_OF_EVERY = re.compile(r"([1-9]\d*):([1-9]\d*)")


@dataclass(frozen=True)
class PatternTraits:
    """The traits of a pattern.

    `vectors` is the number of neighbouring vectors of outputs, and `inputs` that of neighbouring
    inputs, between which edges go together; each such block is kept or dropped whole, and all
    vectors keep as many. None: single edges or channels. `every` is (N, M) if N of every M
    neighbouring inputs are kept, which decides the sparsity. `channels`: channels of all layers
    that share them go together. `staged`: edges may be dropped in stages of fine-tuning.
    """

    vectors: int | None = None
    inputs: int = 1
    every: tuple[int, int] | None = None
    channels: bool = False
    staged: bool = False

    @property
    def in_blocks(self) -> bool:
        return self.vectors is not None

    @property
    def budgeted(self) -> bool:
        """Whether layers may have different sparsities."""
        return self.in_blocks and self.every is None


PATTERNS: Mapping[str, PatternTraits] = {
    "block": PatternTraits(vectors=1, staged=True),
    "wide-block": PatternTraits(vectors=2, staged=True),
    "quad-block": PatternTraits(vectors=1, inputs=4, staged=True),
    "channel": PatternTraits(channels=True),
    "unstructured": PatternTraits(staged=True),
}


BLOCKS = tuple(name for name, traits in PATTERNS.items() if traits.in_blocks)
"""The patterns of blocks with any sparsity."""


def traits_of(pattern: str) -> PatternTraits:
    """The traits of a pattern of the table, or of the pattern `N:M`."""
    every = of_every(pattern)
    return PATTERNS[pattern] if every is None else PatternTraits(vectors=1, every=every)


def of_every(pattern: str) -> tuple[int, int] | None:
    """N and M of the pattern `N:M`, None for another."""
    found = _OF_EVERY.fullmatch(pattern)
    return (int(found[1]), int(found[2])) if found else None


def _no_number(found: Any) -> Any:
    if isinstance(found, int):  # YAML reads 2:4 as a number to the base of 60
        raise ValueError(f"found the number {found}; write a pattern N:M in quotes, '2:4'")
    return found


def _known(found: str) -> str:
    counts = of_every(found)
    if counts is None and found not in PATTERNS:
        raise ValueError(f"'{found}' is not known{did_you_mean(found, [*PATTERNS, 'N:M'])}")
    if counts is not None and counts[0] >= counts[1]:
        raise ValueError(f"'{found}' drops nothing: expected fewer than {counts[1]} of {counts[1]}")
    return found


Pattern = Annotated[str, BeforeValidator(_no_number), AfterValidator(_known)]
