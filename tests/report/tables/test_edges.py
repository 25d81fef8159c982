from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_edges import CHOICES, Choice, example_edges, with_outcomes
from example_results import example_results

from harness.report.content import compose
from harness.report.data import load
from harness.report.tables import Entry, Table, budget_table, layer_table, loss_table, score_table


def column(table: Table, name: str) -> list[Entry]:
    return [row[table.columns.index(name)] for row in table.rows]


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return loss_table(load(example_edges(tmp_path_factory.mktemp("edges"))))


def rows_of(table: Table, configuration: str) -> dict[str, tuple[Entry, ...]]:
    """What a configuration lost in, up to the colon, to the row."""
    at, lost = table.columns.index("Configuration"), table.columns.index("Lost in")
    return {
        row[lost].text.split(":")[0]: row for row in table.rows if row[at].text == configuration
    }


def test_loss_table_has_slower_configurations_and_nothing_undecided(losses: Table) -> None:
    ratio = losses.columns.index("Is / dense")
    slower = rows_of(losses, "magnitude@0.3")["latency"]
    assert slower[ratio].tone == "bad" and (slower[ratio].sort or 0) > 1.1
    assert slower[losses.columns.index("Lost in")].text == "latency: slower"
    assert "latency" not in rows_of(losses, "reconstructed@0.5"), "undecided"
    assert "latency" not in rows_of(losses, "magnitude@0.8")


def test_loss_table_has_what_is_no_different_by_the_test(tmp_path: Path) -> None:
    slight = Choice("slight", {"score": "magnitude"}, (0.935,) * 3, (1.3, 1.5, 1.015))
    table = loss_table(load(example_edges(tmp_path, choices=(slight,), noise=0.01)))
    assert "latency" not in rows_of(table, "slight@0.3")
    row = rows_of(table, "slight@0.8")["latency"]
    assert row[table.columns.index("Lost in")].text == "latency: no difference"


def test_loss_table_has_accuracies_whose_interval_is_below(losses: Table) -> None:
    assert "accuracy" in rows_of(losses, "magnitude@0.5")
    assert "accuracy" not in rows_of(losses, "magnitude@0.3")
    assert "accuracy" not in rows_of(losses, "reconstructed@0.5")


def test_loss_table_compares_accuracies_sample_by_sample(tmp_path: Path) -> None:
    """Intervals of two accuracies overlap where one of them got some samples fewer right."""
    slight = Choice("slight", {"score": "magnitude"}, (0.93,) * 3, (1.3, 1.5, 2.0))
    results = load(example_edges(tmp_path, choices=(slight,)))
    assert not any("accuracy" in rows_of(loss_table(results), f"slight@{at}") for at in (0.3, 0.5))
    right = np.random.default_rng(0).random(2000) < 0.9
    fewer = right.copy()
    fewer[np.flatnonzero(right)[:20]] = False
    hits = {"dense": right, "slight@0.3": fewer}
    cells = [
        replace(cell, record=with_outcomes(cell.record, hits.get(cell.label, right)))
        for cell in results.groups[0].cells
    ]
    group = replace(results.groups[0], cells=tuple(cells))
    table = loss_table(replace(results, groups=(group,)))
    assert "accuracy" in rows_of(table, "slight@0.3")
    assert "accuracy" not in rows_of(table, "slight@0.5")


def test_loss_table_names_the_kernel_that_lost_most(losses: Table) -> None:
    row = rows_of(losses, "magnitude@0.8")["kernels"]
    assert row[losses.columns.index("Lost in")].text == "kernels: 1 of 9 with fewer operations"
    assert row[losses.columns.index("Is")].detail == "fused_sparse_conv2d0_add0"
    assert row[losses.columns.index("Is / dense")].sort == pytest.approx(1.2)
    every = rows_of(losses, "magnitude@0.3")["kernels"]
    assert every[losses.columns.index("Lost in")].detail.endswith("and 5 more")


def test_loss_table_tells_controls_from_choices(losses: Table) -> None:
    details = {entry.text: entry.detail for entry in column(losses, "Configuration")}
    assert details["random@0.8"].endswith("dropped by chance")
    assert details["magnitude@0.8"].endswith("dropped")


def test_loss_table_has_no_rows_when_nothing_was_lost(tmp_path: Path) -> None:
    good = Choice("good", {"score": "magnitude"}, (0.935,) * 3, (1.3, 1.5, 2.0))
    results = load(example_edges(tmp_path, choices=(good,)))
    cells = [
        replace(cell, record=cell.record.model_copy(update={"kernels": ()}))
        for cell in results.groups[0].cells
    ]
    group = replace(results.groups[0], cells=tuple(cells))
    table = loss_table(replace(results, groups=(group,)))
    assert table.rows == () and not table.filled


def test_layer_table_has_a_row_a_layer_and_a_column_a_configuration(tmp_path: Path) -> None:
    table = layer_table(load(example_edges(tmp_path)))
    assert table.folded and len(table.rows) == 9
    assert table.columns[:5] == ("Model", "Layer", "Weights", "Parameters", "MFLOP")
    assert len(table.columns) == 5 + 3 * len(CHOICES)
    assert column(table, "Weights")[0].text == "16×16×3×3"
    assert column(table, "MFLOP")[3].text == "0.900"
    kept = column(table, "Kept by magnitude@0.5")
    assert kept[0].text == "65 %" and kept[8].text == "100 %"


@pytest.mark.slow
def test_report_says_nothing_of_edges_when_none_were_dropped(tmp_path: Path) -> None:
    plain = {section.name for section in compose(load(example_results(tmp_path / "a"))).sections}
    edges = {section.name for section in compose(load(example_edges(tmp_path / "b"))).sections}
    assert edges - plain == {"losses", "controls", "scores", "edge-map", "layers", "sparsity"}


def test_best_score_stands_beside_each_other_one(tmp_path: Path) -> None:
    table = score_table(load(example_edges(tmp_path)))
    half = [row for row in table.rows if row[table.columns.index("To drop")].text == "50 %"]
    named = {name: at for at, name in enumerate(table.columns)}
    assert {row[named["Best"]].text for row in half} == {"activation@0.5"}
    beside = {row[named["Beside"]].text: row for row in half}
    assert set(beside) == {"magnitude@0.5", "shuffled@0.5", "random@0.5"}
    said = {name: row[named["Verdict"]].text for name, row in beside.items()}
    assert said == {
        "magnitude@0.5": "not told apart", "shuffled@0.5": "better", "random@0.5": "better",
    }  # fmt: skip
    assert beside["shuffled@0.5"][named["Beside"]].detail == "by chance"
    assert beside["shuffled@0.5"][named["More accurate"]].text == "+29.30"
    assert beside["random@0.5"][named["Speed-up"]].sort == pytest.approx(1.15 / 1.12, rel=0.03)


UNIFORM = Choice("uniform", {"score": "second-order"}, (0.93, 0.9, 0.6), (1.1, 1.5, 2.0))


def budgets_of(folder: Path, accuracies: tuple[float, ...], **edges: object) -> Table:
    budget = Choice(
        "latency", {"score": "second-order", "budget": "latency", **edges}, accuracies, (1.2, 2, 2)
    )
    return budget_table(load(example_edges(folder, choices=(UNIFORM, budget), noise=0.01)))


def test_budget_stands_beside_uniform_layers_where_they_are_as_accurate(tmp_path: Path) -> None:
    table = budgets_of(tmp_path, (0.93, 0.915, 0.95))
    assert [entry.text for entry in column(table, "Configuration")] == [
        "latency@0.3",
        "latency@0.5",
    ]
    same, better = column(table, "Speed-up over uniform")
    assert same.sort == pytest.approx(1.2 / 1.1, rel=0.02)
    # Halfway in accuracy is halfway in the logarithm of the latency.
    assert better.sort == pytest.approx(2 / (1.1 * 1.5) ** 0.5, rel=0.02)
    assert [entry.text for entry in column(table, "Verdict")] == ["faster", "faster"]
    assert column(table, "Between")[1].text.startswith("uniform@0.5 (0.9")


def test_dense_network_is_one_end_of_the_line(tmp_path: Path) -> None:
    table = budgets_of(tmp_path, (0.9325, 0.5, 0.4))
    (found,) = column(table, "Speed-up over uniform")
    assert found.sort == pytest.approx(1.2 / 1.1**0.5, rel=0.02)


def test_what_was_done_otherwise_is_no_line(tmp_path: Path) -> None:
    assert not budgets_of(tmp_path, (0.93, 0.915, 0.95), reconstruct=True).rows
