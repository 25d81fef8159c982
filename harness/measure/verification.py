"""Compares outputs with the reference runtime's, before anything else counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import CellFailure
from harness.record import Verification

TOLERANCE_OF_SCALE = 1e-4
"""Largest admitted difference of a float output, as a share of its largest value in the
reference: rounding in another order gives some 1e-6, a wrong kernel far more."""


def verify(
    reference_name: str,
    reference: Sequence[Sequence[np.ndarray]],
    outputs: Sequence[Sequence[np.ndarray]],
    real_inputs: bool,
) -> Verification:
    """Compare outputs, [inputs][outputs], with the reference's.

    Raises CellFailure for another number, shape or dtype kind of outputs, for values that are not
    finite where the reference's are, and for a difference beyond the tolerance.
    """
    worst_absolute = worst_of_scale = 0.0
    for at, (expected_row, found_row) in enumerate(zip(reference, outputs, strict=True)):
        if len(expected_row) != len(found_row):
            raise CellFailure(
                f"wrong result: {len(found_row)} outputs, the reference has {len(expected_row)}"
            )
        for index, (expected, found) in enumerate(zip(expected_row, found_row, strict=True)):
            where = f"output {index} on input {at}"
            if expected.shape != found.shape:
                raise CellFailure(
                    f"wrong result: {where} has shape {list(found.shape)}, "
                    f"the reference's has {list(expected.shape)}"
                )
            absolute, of_scale = _difference(expected, found, where)
            worst_absolute = max(worst_absolute, absolute)
            worst_of_scale = max(worst_of_scale, of_scale)
    if worst_of_scale > TOLERANCE_OF_SCALE:
        raise CellFailure(
            f"wrong result: differs from {reference_name} by {worst_of_scale:.2g} of the output's "
            f"scale; at most {TOLERANCE_OF_SCALE:g} is admitted"
        )
    return Verification(
        reference=reference_name,
        inputs=len(reference),
        real_inputs=real_inputs,
        max_abs_error=worst_absolute,
        max_error_of_scale=worst_of_scale,
        tolerance_of_scale=TOLERANCE_OF_SCALE,
    )


def _difference(expected: np.ndarray, found: np.ndarray, where: str) -> tuple[float, float]:
    """The largest absolute difference, as it is and as a share of the reference's scale."""
    reference = expected.astype(np.float64)
    ours = found.astype(np.float64)
    finite = np.isfinite(reference)
    if not np.array_equal(np.isfinite(ours), finite):
        count = int(np.sum(~np.isfinite(ours) & finite))
        raise CellFailure(
            f"wrong result: {where} has {count} values that are not finite (NaN or infinite) "
            "where the reference's are"
        )
    if not finite.any():
        return 0.0, 0.0
    absolute = float(np.max(np.abs(reference[finite] - ours[finite])))
    scale = float(np.max(np.abs(reference[finite])))
    return absolute, absolute / scale if scale else absolute
