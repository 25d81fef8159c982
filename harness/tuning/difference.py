"""Says how a candidate's output differs from the unscheduled kernel's.

It needs NumPy alone: boards compare there what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

Reference = tuple[list[np.ndarray], list[np.ndarray]]
"""What a kernel is given, and what it gives."""
_TOLERANCE = 1e-4
"""Largest admitted difference from the unscheduled kernel, relative to its largest output."""


def difference(expected: np.ndarray, found: np.ndarray) -> str | None:
    """How an output differs from what it should be, or None where it does not.

    Floats may differ by 1e-4 of the largest expected value; anything else must be equal.
    """
    if expected.dtype.kind != "f":
        wrong = int(np.count_nonzero(expected != found))
        return f"{wrong} of {expected.size} values differ" if wrong else None
    odd = ~np.isfinite(expected)
    if not np.array_equal(expected[odd], found[odd], equal_nan=True):
        return "what is not finite differs"
    if odd.all():
        return None
    scale = float(np.abs(expected[~odd]).max())
    worst = float(np.abs(found[~odd] - expected[~odd]).max())
    if not worst <= _TOLERANCE * scale:
        return f"off by {worst:.3g} where the largest value is {scale:.3g}"
    return None


def first_difference(
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]], expected: Iterable[Reference]
) -> str | None:
    """The first output that is not what it should be, in words; None where all are. `run` gives the
    outputs for some inputs."""
    for inputs, wanted in expected:
        for at, (array, found) in enumerate(zip(wanted, run(inputs), strict=True)):
            if why := difference(array, found):
                return f"output {at}: {why}"
    return None
