"""Tuning keeps to its budget, counts failures, and never calls nothing a success."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import convolutional, save

from harness.compiler.api import tvm
from harness.errors import CellFailure
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.specs.sweep import Tune
from harness.specs.target import Passes
from harness.tuning import tuner as tuner_module
from harness.tuning.database import EXAMPLES, TuningDatabase
from harness.tuning.progress import TuningProgress
from harness.tuning.search.examples import Examples
from harness.tuning.search.proposals import TRIALS_PER_ROUND
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> tvm.IRModule:
    folder = tmp_path_factory.mktemp("model")
    imported = import_model(save(convolutional(), folder / "net.onnx"), {}, folder)
    return fuse(adapt(canonicalise(imported.module), Passes(), TARGET), "full")


@pytest.mark.slow
def test_tuning_improves_or_keeps_the_default_and_counts(
    fused: tvm.IRModule, tmp_path: Path
) -> None:
    heard: list[TuningProgress] = []
    with TuningDatabase(tmp_path) as database:
        tasks = tasks_of(fused, TARGET)
        tuner = Tuner(tasks, TARGET, 2, database, Tune(trials=32), 0, heard.append)
        found = tuner.run()
        assert database.chosen()
        assert sum(spent.trials for spent in database.spent().values()) == found.trials == 32
    assert [progress.trials for progress in heard] == list(range(1, 33))
    assert heard[-1].done == heard[-1].total == 32
    assert found.stopped_by == "trials" and found.failed_trials == 0
    estimates = [point.estimate_ms for point in found.curve]
    assert all(estimate is not None for estimate in estimates)
    assert (tmp_path / "chosen.json").exists()


@pytest.mark.slow
def test_later_tuning_knows_what_an_earlier_one_learned(
    fused: tvm.IRModule, tmp_path: Path
) -> None:
    with TuningDatabase(tmp_path) as database:
        tasks = tasks_of(fused, TARGET)
        Tuner(tasks[:1], TARGET, 2, database, Tune(trials=12), 0, lambda progress: None).run()
    learned = len(Examples.read(tmp_path / EXAMPLES))
    assert 0 < learned <= 12
    with TuningDatabase(tmp_path) as database:
        Tuner(tasks[1:2], TARGET, 2, database, Tune(trials=8), 0, lambda progress: None).run()
    assert learned < len(Examples.read(tmp_path / EXAMPLES)) <= learned + 8


@pytest.mark.slow
def test_what_one_kernel_got_elsewhere_leaves_the_others_their_share(
    fused: tvm.IRModule, tmp_path: Path
) -> None:
    tasks = tasks_of(fused, TARGET)[:3]

    def tuned(count: int, trials: int) -> int:
        with TuningDatabase(tmp_path) as database:
            tune = Tune(trials=trials)
            return (
                Tuner(tasks[:count], TARGET, 2, database, tune, 0, lambda progress: None)
                .run()
                .trials
            )

    assert tuned(1, 16) == 16
    assert tuned(3, 12) == 8  # and not none: of the 16 a third of 12 counts
    assert tuned(3, 12) == 0
    assert tuned(3, 15) == 2  # 8 were its own, and of the 16 a third of 15 counts


@pytest.mark.slow
def test_few_searches_are_held_at_a_time(
    fused: tvm.IRModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner_module, "_OPEN_SEARCHES", 1)
    with TuningDatabase(tmp_path) as database:
        tasks = tasks_of(fused, TARGET)[:3]
        tuner = Tuner(tasks, TARGET, 2, database, Tune(trials=66), 0, lambda progress: None)
        assert tuner.run().failed_trials == 0
        assert sum(task.search is not None for task in tuner._tasks) == 1
        assert sum(task.spent.trials > 0 for task in tuner._tasks) == 3


@pytest.mark.slow
def test_tuning_that_measured_nothing_fails(
    fused: tvm.IRModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that does not exist: every candidate is lost, as when a toolchain is broken.
    monkeypatch.setattr(
        "harness.tuning.candidates.process._WORKER", "harness.tuning.no_such_worker"
    )
    with TuningDatabase(tmp_path) as database:
        tasks = tasks_of(fused, TARGET)
        tuner = Tuner(tasks, TARGET, 2, database, Tune(trials=4), 0, lambda progress: None)
        with pytest.raises(CellFailure, match="tuning measured nothing: 4 trials, all failed"):
            tuner.run()
        assert not database.chosen()


@pytest.mark.slow
def test_rounds_stop_when_nothing_improves(
    fused: tvm.IRModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner_module, "_STALE_ROUNDS", 1)
    monkeypatch.setattr(tuner_module, "_IMPROVEMENT", 0.0)
    with TuningDatabase(tmp_path) as database:
        tasks = tasks_of(fused, TARGET)[:1]
        tuner = Tuner(tasks, TARGET, 2, database, Tune(trials=1000), 0, lambda progress: None)
        found = tuner.run()
    assert found.stopped_by == "exhausted" and 0 < found.trials <= TRIALS_PER_ROUND
