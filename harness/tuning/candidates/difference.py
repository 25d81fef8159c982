"""Says how a candidate's output differs from the unscheduled kernel's.

It needs NumPy alone: boards compare their results on the board.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.measure.comparison import (
    Floats,
    at_place,
    errors,
    shown,
    sizes,
    tolerance_of,
    unlike,
)

_OF_DOUBT = 8.0
"""Allowed factor between a kernel's own rounding and the effect of rounding its inputs."""
_ADMITTED = "admitted-"


class Reference(NamedTuple):
    """A kernel's inputs, its outputs, and the tolerance of each output value."""

    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    admitted: list[Floats]


def admitted_errors(expected: np.ndarray, doubt: Floats | None = None) -> Floats:
    """How far off each value of an output may be: a float by 1e-4 of the size of its neighbourhood,
    see `harness.measure.comparison`, and by 8 times the `doubt`, which is how far it moves when
    the kernel's inputs are rounded differently; other values not at all."""
    tolerance = tolerance_of(expected.dtype).stated
    if not tolerance:
        return np.zeros(expected.shape)
    admitted = tolerance * sizes(expected)
    if doubt is not None:
        admitted += _OF_DOUBT * np.where(np.isfinite(doubt), doubt, 0.0)
    return admitted


def difference(
    expected: np.ndarray, found: np.ndarray, admitted: Floats | None = None
) -> str | None:
    """The difference of an output from the expected one beyond `admitted`, or None. Shapes,
    dtypes and values that are not finite must be equal."""
    if why := unlike(expected, found):
        return why
    apart = errors(expected, found)
    beyond = apart - (admitted_errors(expected) if admitted is None else admitted)
    wrong = int(np.count_nonzero(beyond > 0))
    if not wrong:
        return None
    worst = int(np.argmax(beyond))
    return (
        f"{wrong} of {expected.size} values differ: {shown(found, worst)} at "
        f"{at_place(worst, expected.shape)}, expected {shown(expected, worst)}"
    )


def first_difference(
    run: Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]], expected: Iterable[Reference]
) -> str | None:
    """The first wrong output, in words; None if all are right. `run` gives the
    outputs for some inputs."""
    return next(
        (why for each in expected if (why := output_difference(each, run(each.inputs)))), None
    )


def output_difference(reference: Reference, outputs: Sequence[np.ndarray]) -> str | None:
    """The first of some outputs that is not the reference's, in words; None where all are."""
    rows = zip(reference.outputs, outputs, reference.admitted, strict=True)
    for at, (expected, found, admitted) in enumerate(rows):
        if why := difference(expected, found, admitted):
            return f"output {at}: {why}"
    return None


def as_row(reference: Reference) -> list[tuple[str, np.ndarray]]:
    """A reference as named arrays for a file; tolerances are left out of `arguments_of`."""
    arguments = [*reference.inputs, *reference.outputs]
    return [
        *((str(at), array) for at, array in enumerate(arguments)),
        *((f"{_ADMITTED}{at}", array) for at, array in enumerate(reference.admitted)),
    ]


def arguments_of(row: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """A kernel's arguments, from a row of `as_row` or from arguments alone."""
    return [array for name, array in row.items() if not name.startswith(_ADMITTED)]


def reference_of(row: Mapping[str, np.ndarray], outputs: int) -> Reference:
    """The row that `as_row` wrote for a kernel with some outputs."""
    arguments = arguments_of(row)
    admitted = [array for name, array in row.items() if name.startswith(_ADMITTED)]
    return Reference(arguments[:-outputs], arguments[-outputs:], admitted)
