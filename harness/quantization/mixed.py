"""Which layers go back to floats, so that a network's outputs change by no more than was asked.

Layers that read one value go together. First go those whose rounding changes the outputs most for
the time that they save: of squared changes, which add up where errors are independent, per second.
Afterwards those that turn out not to have been needed are quantized again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.compiler.api import relax

_LITTLE = 1e-9
"""Seconds. A layer that saves no time goes first."""


@dataclass(frozen=True)
class Rounded:
    """The layers that read one value: what rounding them alone changes of the outputs, relative to
    their size, and the seconds that they save in 8 bits."""

    value: relax.Var
    change: float
    saved: float


@dataclass
class Back:
    """Values that are left in floats, and what the others change of the outputs."""

    values: list[relax.Var] = field(default_factory=list)
    change: float = 0.0


def back_to_floats(
    rounded: Mapping[relax.Var, Rounded],
    most: float,
    change_without: Callable[[list[relax.Var]], float],
    progress: Callable[[int, int], None],
) -> Back:
    """The values that go back. `change_without` is the change of the outputs when some values stay
    in floats; it is asked for at most twice as often as there are values."""
    order = sorted(
        rounded.values(), key=lambda each: each.change**2 / max(each.saved, _LITTLE), reverse=True
    )
    found, asked = Back(change=change_without([])), 1
    for each in order:
        if found.change <= most:
            break
        found.values.append(each.value)
        found.change = change_without(found.values)
        progress(asked := asked + 1, 2 * len(order))
    for value in found.values[-2::-1]:
        others = [each for each in found.values if each != value]
        change = change_without(others)
        progress(asked := asked + 1, 2 * len(order))
        if change <= most:
            found = Back(others, change)
    return found
