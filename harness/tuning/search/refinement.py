"""The neighbours of a schedule: schedules that differ in one decision, by one step.

Evolution draws a new decision at random; close to the best known schedule that is mostly worse.
The effect of a slightly wider or narrower tile is found by trying it, see [Canesche].

Sources
-------
[Canesche]  M. Canesche et al., The Droplet search algorithm for kernel scheduling,
            ACM Trans. Archit. Code Optim. 21 (2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

from harness.kernels.blocks import prime_factors


def neighbours(trace: list[Any]) -> Iterator[list[Any]]:
    """All traces one step from a trace; both as JSON, `[instructions, decisions]`.

    A step moves one prime factor of a loop from one level of its tiling to another, or goes to the
    next or the previous of the values that a choice is among.
    """
    instructions, decisions = trace
    for at, (position, decision) in enumerate(decisions):
        kind, _, attributes, _ = instructions[int(position)]
        for other in _steps(str(kind), attributes, decision):
            yield [instructions, [*decisions[:at], [position, other], *decisions[at + 1 :]]]


def _steps(kind: str, attributes: list[Any], decision: Any) -> Iterator[Any]:
    if kind == "SamplePerfectTile":
        yield from _tile_steps([int(part) for part in decision], int(attributes[1]))
    elif kind == "SampleCategorical":
        count = len(attributes[0])
        yield from (value for value in (decision - 1, decision + 1) if 0 <= value < count)


def _tile_steps(parts: list[int], most_innermost: int) -> Iterator[list[int]]:
    for source, goal in permutations(range(len(parts)), 2):
        for prime in prime_factors(parts[source]):
            moved = [*parts]
            moved[source] //= prime
            moved[goal] *= prime
            if most_innermost < 1 or moved[-1] <= max(most_innermost, parts[-1]):
                yield moved
