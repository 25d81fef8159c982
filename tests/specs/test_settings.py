"""Axes of a sweep: lists of values, one of each in a cell."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.specs.settings import AXES, Settings
from harness.specs.sweep import Sweep

SWEEP = {"schema": 1, "models": ["magika"], "configurations": [{"name": "fused"}]}


def settings(**keys: Any) -> list[dict[str, int]]:
    return [each.given for each in Sweep.model_validate(SWEEP | keys).settings]


def test_cells_have_no_settings_unless_the_sweep_gives_some() -> None:
    assert settings() == [{}]
    assert str(Settings()) == ""


def test_each_combination_has_its_settings() -> None:
    assert settings(batch=[1, 8], threads=[1, 2]) == [
        {"batch": batch, "threads": threads} for batch in (1, 8) for threads in (1, 2)
    ]
    assert settings(batch=4) == settings(batch=[4]) == [{"batch": 4}]


def test_settings_are_named_in_the_order_of_the_axes() -> None:
    assert str(Settings(streams=1, threads=2, batch=8)) == "batch 8, 2 threads, 1 stream"
    assert [*AXES] == [*Settings.model_fields]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"batch": [8, 8]}, "'8' is given twice"),
        ({"batch": 0}, "greater than or equal to 1"),
        ({"threads": [1, 9999]}, "less than or equal to 4096"),
        ({"threads": True}, "threads"),
        ({"batch": [True]}, "expected a number, found true"),
        ({"batch": "8"}, "batch"),
    ],
)
def test_values_that_no_cell_can_have_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Sweep.model_validate(SWEEP | keys)
