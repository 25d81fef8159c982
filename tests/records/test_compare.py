from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from example_results import example_record

from harness.cli.compare import command
from harness.errors import InputError
from harness.records.compare import Comparison, compare_results
from harness.records.record import Accuracy, CellKey, Record
from harness.records.store import FILE_NAME, SECONDS, Store


def key(configuration: str = "tuned", engine: str = "tvm") -> CellKey:
    return CellKey(model="net", target="x86-host", configuration=configuration, engine=engine)


def accuracy(value: float, metric: str = "top-1 accuracy") -> Accuracy:
    return Accuracy(
        value=value, ci_low=value - 0.01, ci_high=value + 0.01, metric=metric, samples=2000
    )


def cell(name: CellKey, folder: str, **changes: Any) -> Record:
    """A good record whose fingerprint differs from folder to folder, as after a code change."""
    known = {"accuracy": accuracy(0.92), "spec": {}, "environment": {"cpu": "some cpu"}}
    return example_record(
        name, fingerprint=f"{folder}-{name}", session=f"{folder}-session", **(known | changes)
    )


def write(folder: Path, cells: Mapping[str, tuple[Record, float | None]], seed: int = 1) -> Path:
    """A results folder of records, each with raw samples around so many milliseconds, or none."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    with Store(folder / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record, _ in cells.values())
        for record, level_ms in cells.values():
            seconds = (level_ms or 0) / 1e3 * random.lognormal(0, 0.01, 40)
            store.write(record, {SECONDS: {record.fingerprint: seconds}} if level_ms else None)
    return folder


def compared(a: Path, b: Path, threshold: float = 0.05) -> Comparison:
    with Store(a / FILE_NAME) as store_a, Store(b / FILE_NAME) as store_b:
        return compare_results(store_a, store_b, threshold)


def two(
    tmp_path: Path,
    ms_a: float | None = 1.0,
    ms_b: float | None = 1.0,
    a: Mapping[str, Any] | None = None,
    b: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Two folders of one cell each, with what is changed in either record."""
    return (
        write(tmp_path / "a", {"": (cell(key(), "a", **(a or {})), ms_a)}, seed=1),
        write(tmp_path / "b", {"": (cell(key(), "b", **(b or {})), ms_b)}, seed=2),
    )


@pytest.mark.parametrize(
    ("ms_b", "verdict", "regressed"),
    [(1.0, "no difference", 0), (1.04, "slower", 0), (1.2, "slower", 1), (0.8, "faster", 0)],
)
def test_compare_results_tells_regressions_when_latency_changes(
    tmp_path: Path, ms_b: float, verdict: str, regressed: int
) -> None:
    found = compared(*two(tmp_path, ms_b=ms_b))
    (only,) = found.cells
    assert only.latency is not None
    assert only.latency.verdict == verdict
    assert only.latency.ratio == pytest.approx(ms_b, rel=0.01)
    assert only.latency.test == "Mann-Whitney U"
    assert len(found.regressed) == regressed


def test_compare_results_finds_a_small_regression_when_the_threshold_is_below_the_usual_effect(
    tmp_path: Path,
) -> None:
    folders = two(tmp_path, ms_b=1.018)
    assert not compared(*folders).regressed
    (found,) = compared(*folders, threshold=0.01).regressed
    assert found.regressions[0].endswith("1.0% is tolerated")


def test_compare_results_reports_a_regression_when_a_good_cell_fails(tmp_path: Path) -> None:
    failed = {"status": "failed", "reason": "it crashed", "latency": None}
    (found,) = compared(*two(tmp_path, ms_b=None, b=failed)).regressed
    assert found.regressions == ("was ok, is failed: it crashed",)
    assert found.latency is None


@pytest.mark.parametrize(
    ("before", "after"), [("failed", "ok"), ("ok", "skipped"), ("failed", "failed")]
)
def test_compare_results_notes_the_status_when_it_is_no_regression(
    tmp_path: Path, before: str, after: str
) -> None:
    found = compared(*two(tmp_path, a={"status": before}, b={"status": after}))
    assert not found.regressed
    (note,) = found.cells[0].notes
    assert before in note and after in note


def test_compare_results_reports_a_regression_when_accuracy_falls_below_its_interval(
    tmp_path: Path,
) -> None:
    within = compared(*two(tmp_path, b={"accuracy": accuracy(0.912)}))
    assert not within.regressed
    (tmp_path / "again").mkdir()
    (found,) = compared(*two(tmp_path / "again", b={"accuracy": accuracy(0.905)})).regressed
    assert found.regressions == (
        "top-1 accuracy fell from 0.92 to 0.905, below its interval (0.91–0.93)",
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("before", "after", "regressions", "notes"),
    [
        (accuracy(0.92), accuracy(NAN), ("top-1 accuracy was 0.92, is NaN",), ()),
        (accuracy(0.92), accuracy(NAN, "R2"), ("R2 was 0.92, is NaN",), ()),
        (accuracy(NAN), accuracy(0.92), (), ("top-1 accuracy was NaN, is 0.92",)),
        (accuracy(NAN), accuracy(NAN), (), ("top-1 accuracy was NaN, is NaN",)),
        (accuracy(0.92), None, (), ("accuracy not compared: not known in B",)),
        (None, None, (), ()),
    ],
)
def test_compare_results_says_what_became_of_an_accuracy_that_is_no_number(
    tmp_path: Path,
    before: Accuracy | None,
    after: Accuracy | None,
    regressions: tuple[str, ...],
    notes: tuple[str, ...],
) -> None:
    (found,) = compared(*two(tmp_path, a={"accuracy": before}, b={"accuracy": after})).cells
    assert (found.regressions, found.notes) == (regressions, notes)


def test_compare_results_does_not_compare_accuracy_when_metrics_differ(tmp_path: Path) -> None:
    found = compared(*two(tmp_path, b={"accuracy": accuracy(0.5, "word accuracy")}))
    assert not found.regressed
    assert "word accuracy" in found.cells[0].notes[0]


@pytest.mark.parametrize(
    ("b", "ms_b", "why"),
    [
        ({"kind": "static"}, 1.0, "measured in A, static in B"),
        ({}, None, "no raw samples in B"),
        ({"session": None}, None, "no raw samples in B"),
    ],
)
def test_compare_results_says_why_when_latency_cannot_be_compared(
    tmp_path: Path, b: Mapping[str, Any], ms_b: float | None, why: str
) -> None:
    a = write(tmp_path / "a", {"": (cell(key(), "a"), 1.0)})
    record = cell(key(), "b").model_copy(update=b)
    found = compared(a, write(tmp_path / "b", {"": (record, ms_b)}))
    assert found.cells[0].latency is None
    assert found.cells[0].undecided == (f"latency not compared: {why}",)
    assert found.undecided == found.cells and not found.regressed


def test_compare_results_compares_no_measurement_with_itself(tmp_path: Path) -> None:
    a = write(tmp_path / "a", {"": (cell(key(), "a"), 1.0)})
    found = compared(a, a)
    assert found.cells[0].notes == ("the same measurement in both",)
    assert not found.regressed and not found.undecided


def test_compare_results_has_nothing_undecided_when_neither_result_has_a_latency(
    tmp_path: Path,
) -> None:
    static = {"kind": "static"}
    found = compared(*two(tmp_path, a=static, b=static))
    assert not found.undecided
    assert found.cells[0].notes == ("latency not compared: static results have none",)


def test_compare_results_lists_cells_when_they_are_in_one_folder_only(tmp_path: Path) -> None:
    names = [key(name) for name in ("unfused", "fused", "tuned")]
    a = write(tmp_path / "a", {str(name): (cell(name, "a"), 1.0) for name in names[:2]})
    b = write(tmp_path / "b", {str(name): (cell(name, "b"), 1.0) for name in names[1:]})
    found = compared(a, b)
    assert [one.key for one in found.cells] == [names[1]]
    assert (found.only_in_a, found.only_in_b) == ((names[0],), (names[2],))


def test_compare_results_raises_when_no_cell_is_in_both(tmp_path: Path) -> None:
    a = write(tmp_path / "a", {"": (cell(key("fused"), "a"), 1.0)})
    b = write(tmp_path / "b", {"": (cell(key("tuned"), "b"), 1.0)})
    with pytest.raises(InputError, match="no cell in common"):
        compared(a, b)


def test_compare_results_names_what_differs_when_environment_and_specification_do(
    tmp_path: Path,
) -> None:
    environments = [
        {"cpu": "EPYC", "load_average": [0.1], "llvm": "unknown: no TVM", "versions": {"x": "1"}},
        {"cpu": "Xeon", "load_average": [3.0], "llvm": 22, "versions": {"x": "2"}},
    ]
    specs = [
        {"configuration": {"tune": {"trials": trials}}, "limits": {"memory_mb": trials}}
        for trials in (100, 200)
    ]
    changes = [
        {"environment": environment, "spec": spec}
        for environment, spec in zip(environments, specs, strict=True)
    ]
    found = compared(*two(tmp_path, a=changes[0], b=changes[1]))
    assert [str(one) for one in found.environment] == ["cpu: EPYC → Xeon", "versions.x: 1 → 2"]
    assert found.cells[0].notes == ("configuration.tune.trials: 100 → 200",)


def overwrite(folder: Path, samples_ms: np.ndarray) -> None:
    """Give every cell of a folder these raw samples."""
    with Store(folder / FILE_NAME) as store:
        for record in store.records():
            store.write(record, {SECONDS: {record.fingerprint: samples_ms / 1e3}})


def test_compare_results_says_once_that_the_machine_was_busy(tmp_path: Path) -> None:
    cells = [key("fused"), key("tuned")]
    a, b = (
        write(tmp_path / folder, {str(name): (cell(name, folder), 1.0) for name in cells})
        for folder in ("a", "b")
    )
    overwrite(b, np.where(np.arange(40) % 2, 1.0, 1.8))
    found = compared(a, b)
    assert not any("busy" in note or "work" in note for one in found.cells for note in one.notes)
    (caution,) = found.cautions
    assert caution.startswith("the machine had other work: single samples scatter by up to ")


def test_compare_results_lists_what_is_undecided_though_its_interval_leaves_out_1(
    tmp_path: Path,
) -> None:
    """1.17 times as long (1.02–1.30), which is neither no difference nor passed over."""
    a, b = two(tmp_path)
    random = np.random.default_rng(3)
    overwrite(a, random.lognormal(0, 0.25, 40))
    overwrite(b, 1.17 * random.lognormal(0, 0.25, 40))
    found = compared(a, b)
    (only,) = found.undecided
    assert only.latency is not None and only.latency.ci_low > 1
    assert only.latency.verdict == "undecided"
    assert "leaves out 1, but the test does not confirm" in only.undecided[0]
    assert not found.regressed


def test_compare_results_warns_when_an_unchanged_baseline_moved(tmp_path: Path) -> None:
    name = key("baseline", "onnxruntime")
    environment = {"versions": {"onnxruntime": "1.31"}}
    folders = [
        write(
            tmp_path / folder,
            {
                "baseline": (cell(name, folder, environment=environment), ms),
                "ours": (cell(key(), folder, environment=environment), ms),
            },
        )
        for folder, ms in (("a", 1.0), ("b", 1.2))
    ]
    found = compared(folders[0], folders[1])
    assert len(found.regressed) == 2
    (caution,) = found.cautions
    assert "onnxruntime is slower" in caution and "machine may have changed" in caution


def test_command_ends_with_1_when_a_cell_regressed(tmp_path: Path) -> None:
    a, b = two(tmp_path, ms_b=1.2)
    result = CliRunner().invoke(command, [str(a), str(b)], env={"COLUMNS": "160"})
    assert not re.search(r"\[(green|red|yellow|none)\]", result.output), "no markup is printed"
    assert result.exit_code == 1, result.output
    assert "slower by" in result.output and "1 regression" in result.output
    assert CliRunner().invoke(command, [str(a), str(b), "--threshold", "0.5"]).exit_code == 0


def test_command_ends_with_1_when_undecided_only_if_strict(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    arguments = [str(a), str(b)]
    assert CliRunner().invoke(command, [*arguments, "--strict"]).exit_code == 0
    overwrite(b, np.random.default_rng(3).lognormal(0, 0.25, 40))
    result = CliRunner().invoke(command, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert result.output.startswith("beware:\n  the machine had other work")
    assert f"undecided:\n  {key()}" in result.output
    assert result.output.endswith("no regressions, 1 undecided\n")
    assert CliRunner().invoke(command, [*arguments, "--strict"]).exit_code == 1
    assert CliRunner().invoke(command, [*arguments, "--strict", "--json"]).exit_code == 1


def test_command_prints_json_when_asked(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    result = CliRunner().invoke(command, [str(a), str(b), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["cells"][0]["latency"]["verdict"] == "no difference"
    assert found["cells"][0]["regressions"] == []


def test_command_raises_input_error_when_a_folder_holds_no_results(tmp_path: Path) -> None:
    a, _ = two(tmp_path)
    result = CliRunner().invoke(command, [str(a), str(tmp_path / "nothing")])
    assert isinstance(result.exception, InputError)
    assert "no results there" in str(result.exception)
