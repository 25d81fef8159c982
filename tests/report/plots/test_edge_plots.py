from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_texts import assert_readable, written_texts
from example_edges import CHOICES, example_edges, with_outcomes

from harness.report import write_report
from harness.report.data import Cell, Group, load
from harness.report.plots import controls, draw_all, edge_map, sparsity
from harness.report.plots.frame import PANEL_WIDTH
from harness.report.score_comparisons import ABOVE, BELOW, LEVEL, ScoreComparison, score_comparisons

CONTROLS = ("shuffled", "random")


def group_of(folder: Path, layers: int = 9) -> Group:
    (group,) = load(example_edges(folder, layers=layers)).groups
    return group


@pytest.mark.parametrize("layers", [1, 9, 50, 150])
def test_edge_map_can_be_read_when_layers_are_few_or_many(
    layers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = written_texts(monkeypatch)
    canvas = edge_map.draw(group_of(tmp_path, layers), {})
    assert canvas is not None
    assert_readable(written)
    texts = [text for text, _ in written]
    assert texts.count("reconstructed@0.5") == 1 and "conv2d0" in texts
    assert ("100" in texts) and (canvas.width > PANEL_WIDTH) == (layers > 40)


def test_edge_map_has_each_layers_share_in_it_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = written_texts(monkeypatch)
    edge_map.draw(group_of(tmp_path), {})
    # The key's 100 apart, the layer that fits no block has one in each configuration.
    assert [text for text, _ in written].count("100") == 1 + 3 * len(CHOICES)


def test_edge_colors_darken_with_the_share_that_is_kept() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    steps = [lightness(edge_map.color_of(at / 10)) for at in range(11)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 11


def test_edge_map_is_absent_when_records_have_no_layers(tmp_path: Path) -> None:
    group = group_of(tmp_path)
    cells = []
    for cell in group.cells:
        edges = cell.record.edges
        bare = edges.model_copy(update={"layers": ()}) if edges else None
        cells.append(Cell(cell.record.model_copy(update={"edges": bare}), cell.interleaved))
    assert edge_map.draw(Group("m", "t", "measured", "m", tuple(cells)), {}) is None


def test_contests_are_of_like_with_like(tmp_path: Path) -> None:
    found = score_comparisons(group_of(tmp_path))
    assert [one.sparsity for one in found] == [0.3, 0.3, 0.5, 0.5, 0.8, 0.8]
    alike, reconstructed = found[2], found[3]
    assert [cell.label for cell in alike.scores] == ["magnitude@0.5", "activation@0.5"]
    assert [cell.label for cell in alike.controls] == ["shuffled@0.5", "random@0.5"]
    assert [cell.label for cell in reconstructed.scores] == ["reconstructed@0.5"]
    assert reconstructed.by_chance is None


def test_standing_says_whether_intervals_are_apart(tmp_path: Path) -> None:
    found = score_comparisons(group_of(tmp_path))
    standings = {
        cell.label: one.standing(cell) for one in found for cell in (*one.scores, *one.controls)
    }
    assert standings["magnitude@0.3"] == LEVEL and standings["magnitude@0.5"] == ABOVE
    assert standings["random@0.5"] == "control" and standings["reconstructed@0.5"] == "no control"
    worst = found[0].scores[0]
    accuracy = worst.record.accuracy
    assert accuracy is not None
    low = accuracy.model_copy(update={"value": 0.1, "ci_low": 0.09, "ci_high": 0.11})
    assert found[0].standing(Cell(worst.record.model_copy(update={"accuracy": low}))) == BELOW


def test_standing_is_by_pairs_of_samples_where_records_have_them(tmp_path: Path) -> None:
    """A difference that two intervals hide, because both get the same samples wrong."""
    (one, *_) = score_comparisons(group_of(tmp_path))
    right = np.random.default_rng(0).random(2000) < 0.9
    better = right.copy()
    better[np.flatnonzero(~right)[:40]] = True

    score, control = (
        Cell(with_outcomes(one.scores[0].record, better)),
        Cell(with_outcomes(one.controls[0].record, right)),
    )
    assert ScoreComparison(0.5, {}, (score,), (control,)).standing(score) == ABOVE
    score = Cell(with_outcomes(one.scores[0].record, right))
    assert ScoreComparison(0.5, {}, (score,), (control,)).standing(score) == LEVEL


def test_controls_plot_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = written_texts(monkeypatch)
    assert controls.draw(group_of(tmp_path), {}) is not None
    assert_readable(written)
    texts = [text for text, _ in written]
    assert "50 % to drop" in texts and "50 % to drop, reconstruct" in texts
    assert texts.count("control") == 6 and texts.count("no control") == 3


def test_controls_plot_is_absent_when_nothing_was_chosen_by_chance(tmp_path: Path) -> None:
    chosen = tuple(choice for choice in CHOICES if choice.name not in CONTROLS)
    drawn = draw_all(load(example_edges(tmp_path, choices=chosen)))
    assert drawn["controls"] == () and len(drawn["edge-map"]) == len(drawn["sparsity"]) == 1


def test_sparsity_plot_says_where_each_configuration_breaks_even(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = group_of(tmp_path)
    written = written_texts(monkeypatch)
    assert sparsity.draw(group, {}) is not None
    assert_readable(written)
    said = [text for text, _ in written if text.startswith("even at")]
    assert len(said) == len(CHOICES) and all("(" in text for text in said)


def test_sparsity_plot_says_so_when_it_never_breaks_even(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = group_of(tmp_path)
    wanted = {"dense", "magnitude@0.3", "reconstructed@0.8"}
    few = tuple(cell for cell in group.cells if cell.label in wanted)
    written = written_texts(monkeypatch)
    sparsity.draw(Group("m", "t", "measured", "m", few), {})
    said = [text for text, _ in written if text.startswith("even at")]
    assert said == ["even at >23 %", "even at <60 %"]


@pytest.mark.slow
def test_page_shows_wide_pictures_in_their_size_and_folds_the_layers(tmp_path: Path) -> None:
    page = write_report(example_edges(tmp_path, layers=50)).page.read_text()
    assert page.count('<figure class="wide"') == 1
    assert "<details><summary>50 rows</summary>" in page
