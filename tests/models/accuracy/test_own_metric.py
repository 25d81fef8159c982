"""A user's own metric: found by its module's name alone, imported in a child, and limited there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_metrics
import pytest
from places import HELPERS

from harness.errors import CellFailure, InputError
from harness.models.accuracy.metrics import accuracy, metric
from harness.models.accuracy.own_metric import OwnMetric
from harness.models.accuracy.own_metric_worker import Function, drop_current_folder, score
from harness.models.data.labelled_arrays import labelled_arrays
from harness.models.data.task import Feeds
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy
from harness.specs.sweep import Limits

INPUT, OUTPUT = TensorSpec("x", (1, 3), "float32"), TensorSpec("y", (1, 3), "float32")
SCORES = np.random.default_rng(0).random((40, 3)).astype(np.float32)
LABELS = np.where(np.arange(40) % 4 == 0, (SCORES.argmax(1) + 1) % 3, SCORES.argmax(1))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=":")


def scored(tmp_path: Path, name: str, **limits: Any) -> Accuracy:
    np.savez(tmp_path / "data.npz", x=SCORES, labels=LABELS)
    task = labelled_arrays(tmp_path / "data.npz", name, [INPUT]).fitted([INPUT], [OUTPUT])
    if limits:
        task.scored_by = OwnMetric(name, Limits(**limits))

    def run(feeds: Feeds) -> list[np.ndarray]:
        return [feeds["x"]]

    return task.evaluate(run, lambda done, total: None)


@pytest.mark.slow
def test_truth_for_each_sample_scores_as_the_built_in_share_does(tmp_path: Path) -> None:
    found = scored(tmp_path, "own_metrics:hits")
    wanted = accuracy(metric("top1"), (np.arange(40) % 4 != 0)[:, np.newaxis].astype(float))
    assert found == wanted.model_copy(update={"metric": "own_metrics:hits"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shapes", "ValueError: [(40, 3)] (40,) int64 (own_metrics.py, line "),
        ("crash", "crashed with SIGABRT"),
        ("leave", "SystemExit: bye"),
    ],
)
def test_what_goes_wrong_in_it_is_the_reason_of_one_cell(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(CellFailure) as found:
        scored(tmp_path, f"own_metrics:{name}")
    assert str(found.value).startswith(f"metric 'own_metrics:{name}'")
    assert said in str(found.value) and "\n" not in str(found.value)


def answered(function: Function) -> dict[str, Any]:
    return score(function, [SCORES.copy()], LABELS)


def test_a_score_for_each_sample_has_its_mean_and_an_interval() -> None:
    found = answered(own_metrics.margin)
    rows = np.arange(40)
    others = SCORES.copy()
    others[rows, LABELS] = -np.inf
    margins = SCORES[rows, LABELS] - others.max(axis=1)
    assert found["value"] == pytest.approx(margins.mean(), rel=1e-6)
    assert found["low"] < found["value"] < found["high"] and found["hits"] is None


def test_a_number_has_an_interval_of_samples_drawn_again() -> None:
    found = answered(own_metrics.share)
    assert found["value"] == 0.75
    assert 0.5 < found["low"] < 0.75 < found["high"] < 0.95
    assert np.isnan(answered(own_metrics.not_a_number)["value"])


@pytest.mark.parametrize("function", [own_metrics.matrix, own_metrics.text])
def test_what_is_no_score_is_refused(function: Function) -> None:
    with pytest.raises(InputError, match=r"expected a number, or an array \[40\] of a score for"):
        answered(function)


@pytest.mark.slow
def test_one_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(CellFailure, match="took more than 3 s and was stopped"):
        scored(tmp_path, "own_metrics:hang", cell_minutes=0.05)


def test_source_is_found_without_importing() -> None:
    assert OwnMetric("json.tool:main").source() == Path(
        str(sys.modules["json"].__file__)
    ).with_name("tool.py")
    assert "json.tool" not in sys.modules
    found = OwnMetric("own_metrics:hits").source()
    assert found is not None and found.name == "own_metrics.py"


@pytest.mark.parametrize("name", ["nowhere:f", "json.nowhere:f", "json.tool.deeper:f"])
def test_module_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"no module '.*'; install it, or put its folder on"):
        OwnMetric(name).source()


@pytest.mark.parametrize(
    "name", ["./mine.py:f", "/tmp/mine:f", "a b:f", "m:", ":f", "m:f()", "m:f:g", "m.:f", "m:a.b"]
)
def test_anything_but_names_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected module:function"):
        OwnMetric(name)


def test_function_that_is_not_there_is_refused_before_anything_is_built() -> None:
    OwnMetric("own_metrics:share").require()
    with pytest.raises(InputError, match="no function 'shar' in own_metrics; did you mean 'share'"):
        OwnMetric("own_metrics:shar").require()


def test_current_folder_is_not_looked_into_unless_pythonpath_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a model was downloaded to there may be anything."""
    (tmp_path / "beside_model.py").write_text("open('ran', 'w')\ndef f(o, l): return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    for act in (OwnMetric("beside_model:f").source, OwnMetric("beside_model:f").require):
        with pytest.raises(InputError, match="beside_model"):
            act()
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    OwnMetric("beside_model:f").require()
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("pythonpath", [None, "", "/nowhere:", ":"])
def test_no_pythonpath_does_not_name_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pythonpath: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if pythonpath is None:
        monkeypatch.delenv("PYTHONPATH")
    else:
        monkeypatch.setenv("PYTHONPATH", pythonpath)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "/elsewhere"])
    drop_current_folder()
    assert sys.path == ["/elsewhere"]
