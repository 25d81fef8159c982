from __future__ import annotations

import math

import pytest
from example_edges import CHOICES, example_edges

from harness.report.data import Cell, Group, load
from harness.report.edge_figures import (
    Speed,
    break_even,
    compressed,
    dense_of,
    is_control,
    kept_shares,
    layers_of,
    series,
    speed,
    treatment,
)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return load(example_edges(tmp_path_factory.mktemp("edges"))).groups[0]


def line(*times: float, spread: float = 0.1) -> list[Speed]:
    """Speeds at 10, 20, … % dropped."""
    return [
        Speed(10.0 * at, value, value - spread, value + spread)
        for at, value in enumerate(times, start=1)
    ]


def test_break_even_is_where_the_line_crosses_one() -> None:
    found = break_even(line(0.8, 1.2, 1.5))
    assert found is not None
    assert found.at == pytest.approx(15)
    assert found.low == pytest.approx(12.5) and found.high == pytest.approx(17.5)


def test_break_even_is_the_last_crossing_when_there_are_several() -> None:
    found = break_even(line(1.4, 0.8, 1.2, spread=0.0))
    assert found is not None and found.at == pytest.approx(25)


def test_break_even_is_outside_what_was_measured_when_nothing_crosses() -> None:
    always, never = break_even(line(1.3, 1.5)), break_even(line(0.5, 0.8))
    assert always is not None and always.at == always.high == -math.inf
    assert never is not None and never.at == never.low == math.inf
    assert break_even([]) is None


def test_series_are_configurations_least_sparse_first(group: Group) -> None:
    found = series(group)
    assert list(found) == [choice.name for choice in CHOICES]
    assert [cell.label for cell in found["shuffled"]] == [
        "shuffled@0.3",
        "shuffled@0.5",
        "shuffled@0.8",
    ]


def test_controls_are_random_or_shuffled_and_alike_in_all_else(group: Group) -> None:
    by_name = {cell.label: cell for cell in compressed(group)}
    controls = {label for label, cell in by_name.items() if is_control(cell)}
    assert {label.split("@")[0] for label in controls} == {"shuffled", "random"}
    assert treatment(by_name["magnitude@0.5"]) == treatment(by_name["random@0.8"])
    assert treatment(by_name["magnitude@0.5"]) != treatment(by_name["reconstructed@0.5"])


@pytest.mark.parametrize(
    ("label", "changes", "alike"),
    [
        ("magnitude@0.5", {"exclude": ["conv2d*"]}, False),
        ("magnitude@0.5", {"calibration": 256}, True),
        ("reconstructed@0.5", {"calibration": 256}, False),
    ],
)
def test_rivals_lose_edges_of_the_same_layers_and_are_fitted_to_as_much(
    group: Group, label: str, changes: dict[str, object], alike: bool
) -> None:
    """How much a score looks at is its own affair."""
    cell = next(cell for cell in compressed(group) if cell.label == label)
    spec = dict(cell.record.spec)
    configuration = dict(spec["configuration"])
    configuration["edges"] = {**configuration["edges"], **changes}
    changed = cell.record.model_copy(update={"spec": {**spec, "configuration": configuration}})
    assert (treatment(Cell(changed)) == treatment(cell)) == alike


def test_speed_is_against_the_dense_cell_of_the_same_turns(group: Group) -> None:
    cell = compressed(group)[2]
    dense = dense_of(cell, group)
    assert dense is not None and dense.label == "dense"
    found = speed(cell, group)
    assert found is not None
    assert found.low < 1.9 < found.high and found.times == pytest.approx(1.9, rel=0.05)
    assert speed(cell, Group("m", "t", "measured", "m", (cell,))) is None


def test_layers_keep_the_networks_order(group: Group) -> None:
    cells = compressed(group)
    assert [layer.name for layer in layers_of(cells)] == [f"conv2d{at}" for at in range(9)]
    assert kept_shares(cells[0])["conv2d8"] == 1
