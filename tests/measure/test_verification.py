"""What counts as right: shapes, finite values, a difference small against the output's scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CellFailure
from harness.measure.verification import TOLERANCE_OF_SCALE, verify

REFERENCE = [[np.array([1.0, -4.0], np.float32), np.array([[0.5]], np.float32)]]


def changed(change: float) -> list[list[np.ndarray]]:
    return [[REFERENCE[0][0] + np.float32(change), REFERENCE[0][1]]]


def test_equal_outputs_are_right() -> None:
    found = verify("reference", REFERENCE, changed(0), real_inputs=True)
    assert (found.max_abs_error, found.max_error_of_scale, found.inputs) == (0, 0, 1)


def test_error_is_measured_against_the_scale_of_its_output() -> None:
    found = verify("reference", REFERENCE, changed(2e-4), real_inputs=False)
    assert found.max_abs_error == pytest.approx(2e-4, rel=1e-2)
    assert found.max_error_of_scale == pytest.approx(5e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (changed(1e-3), "differs from reference by 0.00025 of the output's scale"),
        (changed(np.nan), "not finite"),
        (changed(np.inf), "not finite"),
        ([[REFERENCE[0][0]]], "1 outputs, the reference has 2"),
        ([[REFERENCE[0][0][:1], REFERENCE[0][1]]], r"shape \[1\], the reference's has \[2\]"),
    ],
)
def test_wrong_outputs_fail_the_cell(outputs: list[list[np.ndarray]], reason: str) -> None:
    with pytest.raises(CellFailure, match=reason):
        verify("reference", REFERENCE, outputs, real_inputs=True)


def test_what_is_not_finite_in_the_reference_may_be_so_here() -> None:
    rows = [[np.array([np.inf, 1.0, np.nan])]]
    assert verify("reference", rows, rows, real_inputs=True).max_abs_error == 0


@given(
    scale=st.floats(1e-6, 1e6),
    error=st.floats(0, 1).filter(lambda x: abs(x - TOLERANCE_OF_SCALE) > 1e-9),
)
def test_verdict_does_not_depend_on_the_scale(scale: float, error: float) -> None:
    reference = [[np.array([1.0, 0.25]) * scale]]
    outputs = [[np.array([1.0, 0.25 + error]) * scale]]
    if error > TOLERANCE_OF_SCALE:
        with pytest.raises(CellFailure):
            verify("reference", reference, outputs, real_inputs=True)
    else:
        assert verify("reference", reference, outputs, real_inputs=True)
