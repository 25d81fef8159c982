"""The process that measures one model, driven as `harness.measure.group` drives it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from places import HELPERS

from harness.files.arrays import write_arrays
from harness.measure import worker
from harness.models.catalog.entries import resolve
from harness.processes.child import Child
from harness.specs.sweep import ModelSpec

FEEDS = {"x": np.ones((1, 3, 8, 8), np.float32)}
SECONDS = 60


@pytest.fixture
def load(tmp_path: Path) -> dict[str, Any]:
    path = small_models.save(small_models.convolutional(), tmp_path / "model.onnx")
    return {"engine": "onnxruntime", "path": str(path), "threads": 1}


@pytest.fixture
def prepare(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "inputs.npz"
    write_arrays(path, [list(FEEDS.items())])
    return {"inputs": str(path), "warm_up_seconds": 0.01}


@pytest.fixture
def prepared(load: dict[str, Any], prepare: dict[str, Any]) -> worker.Worker:
    """A worker in this process; only `accuracy` would talk to a parent."""
    found = worker.Worker(None, nullcontext())  # type: ignore[arg-type]
    found.load(load)
    found.prepare(prepare)
    return found


def sampled_session(one: worker.Worker) -> Any:
    """The session that the next sample is taken of."""
    assert one.sample({"warm_up_seconds": 0.0, "runs": 3})["seconds"] > 0
    return one._session


def test_each_sample_is_of_the_model_opened_anew(prepared: worker.Worker) -> None:
    sessions = [prepared._session, sampled_session(prepared), sampled_session(prepared)]
    assert len(set(map(id, sessions))) == 3


def test_a_model_that_takes_long_to_open_is_opened_anew_only_once(
    prepared: worker.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_MOVE_SECONDS", 0.0)
    first = prepared._session
    second = sampled_session(prepared)
    assert second is not first
    assert sampled_session(prepared) is second


def test_single_inferences_are_all_that_samples_timed(
    prepared: worker.Worker, tmp_path: Path
) -> None:
    path = tmp_path / "singles.npy"
    prepared.inferences({"path": str(path)})
    assert len(np.load(path)) == 0
    for _ in range(2):
        prepared.sample({"warm_up_seconds": 0.0, "runs": 6})
    prepared.inferences({"path": str(path)})
    assert len(np.load(path)) == 12 and (np.load(path) > 0).all()
    prepared.inferences({"path": str(path)})
    assert len(np.load(path)) == 0


def test_a_child_says_what_memory_and_time_a_model_takes(
    load: dict[str, Any], prepare: dict[str, Any]
) -> None:
    with Child("harness.measure.worker") as child:

        def ask(do: str, **message: Any) -> Any:
            return child.call({"do": do, **message}, SECONDS)["answer"]

        base_mb = ask("load", **load)["base_rss_mb"]
        found = ask("prepare", **prepare)
        assert found["peak_rss_mb"] >= base_mb > 10
        assert found["seconds"] > 0
        assert ask("sample", warm_up_seconds=0.0, runs=3)["seconds"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["top1", "own_metrics:hits"])
def test_a_model_is_scored_sample_by_sample_by_its_metric(
    tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of two, which five samples do not fill."""
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=":")
    path = small_models.save(small_models.convolutional(batch=2), tmp_path / "model.onnx")
    found = worker.Worker(None, nullcontext())  # type: ignore[arg-type]
    found.load({"engine": "onnxruntime", "path": str(path), "threads": 1})
    images = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    pairs = images[[[0, 1], [2, 3], [4, 4]]]
    said = [row for pair in pairs for row in found._session.run({"x": pair})[0].argmax(1)][:5]
    said[2] = (said[2] + 1) % 4
    np.savez(tmp_path / "data.npz", x=images, labels=said)
    model = ModelSpec(name="m", path=path, data=tmp_path / "data.npz", metric=metric)
    answer = found.accuracy(
        {
            "model": model.model_dump(mode="json"),
            "fingerprint": resolve(model).fingerprint,
            "inputs": [{"name": "x", "shape": [2, 3, 8, 8], "dtype": "float32"}],
            "outputs": [{"name": "y", "shape": [2, 4], "dtype": "float32"}],
            "state": [],
            "limit": None,
            "skip": 0,
        }
    )["accuracy"]
    assert (answer["value"], answer["samples"]) == (0.8, 5)
    assert answer["outcomes"] == "d8"  # all but the third
