from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_texts import assert_readable, written_texts
from example_results import example_record, example_results

from harness.records.record import (
    Accuracy,
    CellKey,
    Compression,
    LayerCompression,
    Tuning,
    TuningPoint,
)
from harness.report import plots
from harness.report.data import Cell, Group, load
from harness.report.kernel_figures import roof_of
from harness.report.plots import latency, pareto, style, tuning
from harness.report.plots.waterfall import change
from harness.specs.settings import Settings

CONFIGURATIONS = (
    "unfused",
    "elementwise",
    "fused",
    "tuned",
    "tuned-sparse-0.7",
    "tuned-sparse-0.9-with-a-rather-long-name",
)


def crowded(medians: list[float], accuracies: list[float]) -> Group:
    """A group of six tuned configurations and ONNX Runtime, all measured together."""
    names = [*((name, "tvm") for name in CONFIGURATIONS), ("baseline", "onnxruntime")]
    cells = []
    random = np.random.default_rng(0)
    curve = (TuningPoint(seconds=1, trials=1, estimate_ms=9.0),)
    for (configuration, engine), median, accuracy in zip(names, medians, accuracies, strict=True):
        key = CellKey(model="m" * 80, target="t", configuration=configuration, engine=engine)
        record = example_record(key, median)
        assert record.accuracy is not None
        changes: dict[str, Any] = {
            "accuracy": record.accuracy.model_copy(update={"value": accuracy}),
            "tuning": Tuning(
                trials=100,
                failed_trials=0,
                seconds=90,
                tasks=3,
                tasks_reused=0,
                stopped_by="trials",
                curve=(*curve, TuningPoint(seconds=9, trials=100, estimate_ms=median)),
            ),
        }
        if "sparse" in configuration:
            kept = 300 if "0.7" in configuration else 100
            changes["edges"] = Compression(
                score="magnitude" if kept == 300 else "random",
                pattern="block",
                sparsity=0.7,
                parameters=1000,
                parameters_kept=kept,
                layers=(
                    LayerCompression(
                        name="conv2d0",
                        shape=(10, 100),
                        flops=1e6,
                        parameters=1000,
                        parameters_kept=kept,
                    ),
                ),
            )
        cells.append(record.model_copy(update=changes))
    turns = {
        record.fingerprint: record.latency.median_ms * random.lognormal(0, 0.01, 40)
        for record in cells
        if record.latency
    }
    group = Group(
        model="m" * 80,
        target="t",
        kind="measured",
        title="m" * 80,
        cells=tuple(Cell(record, turns, roof_of(cells)) for record in cells),
    )
    along = {"batch": (1, 4, 16), "threads": (1, 2)}
    return replace(
        group,
        along={
            axis: tuple(at(group, **{axis: n}) for n in values) for axis, values in along.items()
        },
        runs=tuple(replace(group, run=f"{'results/' * 9}{day}") for day in range(40)),
    )


def at(group: Group, **settings: int) -> Group:
    """A group with other settings, as fast."""
    found = Settings(**settings)
    cells = [
        replace(
            cell,
            record=cell.record.model_copy(
                update={"key": cell.key.model_copy(update={"settings": found})}
            ),
        )
        for cell in group.cells
    ]
    return replace(group, settings=found, cells=tuple(cells))


@pytest.mark.parametrize("family", plots.FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(
    "medians",
    [
        [60.0, 40.0, 20.0, 3.1, 3.0, 2.95, 2.2],
        [4.2, 4.1, 3.6, 3.5, 3.4, 3.45, 3.3],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    ],
    ids=["far apart", "close", "equal"],
)
def test_no_text_covers_another_when_there_are_many_configurations(
    family: plots.Family, medians: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = written_texts(monkeypatch)
    group = crowded(medians, [0.91, 0.91, 0.91, 0.91, 0.9, 0.86, 0.91])
    colors = style.colors(CONFIGURATIONS, ["ONNX Runtime"])
    assert family.draw(group, colors) is not None
    assert_readable(written)


def test_draw_all_has_a_panel_for_each_model_in_each_family(tmp_path: Path) -> None:
    drawn = plots.draw_all(load(example_results(tmp_path)))
    assert list(drawn) == [family.name for family in plots.FAMILIES]
    # No cell of the example drops edges.
    assert {name: len(panels) for name, panels in drawn.items() if len(panels) != 2} == {
        "sparsity": 0,
        "controls": 0,
        "edge-map": 0,
        "scaling": 0,
        "history": 0,
    }
    files = [picture.file for panels in drawn.values() for picture in panels]
    assert len(set(files)) == len(files)
    assert all(file.replace("-", "").replace(".", "").isalnum() for file in files)


def test_draw_all_gives_file_names_that_stay_in_the_folder_when_names_are_hostile(
    tmp_path: Path,
) -> None:
    example_results(tmp_path)
    results = load(tmp_path)
    group = results.groups[0]
    hostile = Group(group.model, group.target, group.kind, "../../<b>", group.cells)
    drawn = plots.draw_all(replace(results, groups=(hostile, hostile)))
    files = [picture.file for picture in drawn["latency"]]
    assert files == ["latency-01-b.png", "latency-02-b.png"]


def test_plots_are_absent_when_there_is_nothing_to_draw() -> None:
    key = CellKey(model="m", target="t", configuration="fused", engine="tvm")
    failed = example_record(
        key, status="failed", latency=None, memory=None, kernels=(), tuning=None, accuracy=None
    )
    group = Group("m", "t", "measured", "m", (Cell(failed),))
    assert [family.name for family in plots.FAMILIES if family.draw(group, {})] == []


def test_latency_panel_has_a_row_for_a_cell_that_failed(tmp_path: Path) -> None:
    resnet, dscnn = load(example_results(tmp_path)).groups
    names = [cell.label for cell in (*resnet.cells, *dscnn.cells)]
    colors = style.colors(names, [])
    whole, partly = latency.draw(resnet, colors), latency.draw(dscnn, colors)
    assert whole is not None and partly is not None
    assert whole.height == partly.height


def test_pareto_leaves_out_cells_scored_by_another_metric() -> None:
    group = crowded([1.0] * 7, [0.9] * 7)
    odd = group.cells[0].record
    assert odd.accuracy is not None
    other = odd.accuracy.model_copy(update={"metric": "agreement with the reference"})
    changed = Cell(odd.model_copy(update={"accuracy": other}), group.cells[0].interleaved)
    mixed = Group("m", "t", "measured", "m", (changed, *group.cells[1:]))
    scored = pareto.scored(mixed)
    assert changed not in scored and len(scored) == 6


def test_pareto_keeps_its_axis_when_one_network_is_ruined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its score is written at the foot of the axis; others that differ much are on it."""
    group = crowded([1.0] * 7, [0.9, 0.91, 0.92, 0.93, 0.94, 0.1, 0.95])
    written = written_texts(monkeypatch)
    colors = style.colors([cell.label for cell in group.cells], [])
    assert pareto.draw(group, colors) is not None
    said = [text for text, _ in written]
    assert any("▼" in text for text in said) and "0.2" not in said
    accuracies = [_accuracy_of(cell) for cell in group.cells]
    assert 0.5 < pareto.lowest_shown(accuracies) < 0.9
    spread = [each.model_copy(update={"value": value}) for each, value in
              zip(accuracies, [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.95], strict=True)]  # fmt: skip
    assert pareto.lowest_shown(spread) < 0.1


def test_pareto_names_the_front_other_engines_and_the_most_accurate_of_many() -> None:
    group = crowded([2.0, 1.9, 1.8, 1.7, 1.6, 1.0, 3.0], [0.9, 0.9, 0.9, 0.9, 0.95, 0.2, 0.1])
    *ours, engine = group.cells
    assert pareto.named([*ours, engine]) == list(range(7))
    # Thrice each of the four that another one beats, then the two of the front, then the engine.
    many = [cell for cell in ours[:4] for _ in range(3)] + ours[4:] + [engine]
    worse = replace(
        ours[0],
        record=ours[0].record.model_copy(
            update={"accuracy": _accuracy_of(ours[0]).model_copy(update={"value": 0.15})}
        ),
    )
    named = pareto.named([worse, worse, *many])
    assert len(named) == pareto.MOST_NAMED
    assert {14, 15, 16} <= set(named) and not {0, 1} & set(named)


def _accuracy_of(cell: Cell) -> Accuracy:
    assert cell.record.accuracy is not None
    return cell.record.accuracy


def test_tuning_curve_by_a_count_is_in_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    group = crowded([1.0] * 6 + [1.0], [0.9] * 7)
    cell = group.own[0]
    assert cell.record.tuning is not None
    points = [TuningPoint(seconds=at, trials=at, estimate_instructions=5e6 / at) for at in (1, 10)]
    counted = cell.record.tuning.model_copy(update={"by": "instructions", "curve": tuple(points)})
    cell = replace(cell, record=cell.record.model_copy(update={"tuning": counted}))
    written = written_texts(monkeypatch)
    assert tuning.draw(replace(group, cells=(cell,)), {cell.label: "#123456"})
    assert tuning.curve_of(cell) == [(1, 5e6), (10, 5e5)]
    said = [text for text, _ in written]
    assert "instructions" in said and "ms" not in said
    assert any(each.startswith("500,000 in ") for each in said)


def test_tuning_curve_starts_when_every_kernel_has_a_time(tmp_path: Path) -> None:
    resnet = load(example_results(tmp_path)).groups[0]
    (tuned,) = (cell for cell in resnet.cells if cell.label == "tuned")
    curve = tuning.curve_of(tuned)
    assert [trials for trials, _ in curve][:2] == [96, 128]
    assert curve[-1][0] == 512


@pytest.mark.parametrize(
    ("factor", "said"),
    [(0.5, "−50 %"), (1.25, "+25 %"), (1.0, "≈"), (0.951, "−4.9 %"), (1.019, " ?")],
)
def test_change_says_what_a_step_did(factor: float, said: str) -> None:
    before = example_record(CellKey(model="m", target="t", configuration="a", engine="tvm"))
    after = example_record(
        CellKey(model="m", target="t", configuration="b", engine="tvm"), median_ms=factor
    )
    noise = np.random.default_rng(2).lognormal(0, 0.003, (2, 40))
    turns = {before.fingerprint: noise[0], after.fingerprint: noise[1] * factor}
    assert said in change(Cell(before, turns), Cell(after, turns))
    assert change(Cell(before), Cell(after)).endswith("†"), "not measured interleaved"


def test_colors_are_the_same_for_a_configuration_whatever_the_model() -> None:
    colors = style.colors(["a", "b", "a"], ["ONNX Runtime"])
    assert len(set(colors.values())) == 3
    many = style.colors([f"c{at}" for at in range(20)], [])
    assert len(many) == 20, "colours are used again rather than running out"
