"""Models and data are read by a process of their own, as they were when the sweep was planned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from malformed.arrays import good
from small_models import convolutional, save

from harness.errors import InputError
from harness.files.arrays import read_arrays
from harness.models.data.task import Feeds
from harness.run.model_process import ModelProcess
from harness.specs.sweep import Limits, ModelSpec


@pytest.fixture(scope="module")
def models() -> Iterator[ModelProcess]:
    with ModelProcess(Limits()) as process:
        yield process


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A model with eight labelled samples and as many to train on."""
    data, training = good(tmp_path / "data.npz"), good(tmp_path / "training.npz")
    path = save(convolutional(), tmp_path / "net.onnx")
    return ModelSpec(name="net", path=path, data=data, metric="top1", training=training)


@pytest.mark.slow
def test_inputs_and_scores_come_from_the_data(
    models: ModelProcess, spec: ModelSpec, tmp_path: Path
) -> None:
    found = models.find(spec, 5)
    assert found.samples == 5 and found.files.keys() == {"net.onnx"}
    assert found.task is not None and found.training is not None and spec.data is not None
    inputs = np.load(spec.data)["inputs"]
    np.testing.assert_array_equal([row["x"][0] for row in found.task.inputs(3)], inputs[:3])
    found.training.write(None, tmp_path / "all.npz")
    assert len(read_arrays(tmp_path / "all.npz")) == 8
    heard: list[tuple[int, int]] = []

    def run(feeds: Feeds) -> list[np.ndarray]:
        at = int(np.argmax([np.array_equal(feeds["x"][0], each) for each in inputs]))
        return [np.eye(4, dtype=np.float32)[[at % 4]]]  # right, as the labels are

    score = found.task.evaluate(run, lambda done, total: heard.append((done, total)), skip=2)
    assert (score.value, score.samples) == (1.0, 6)
    assert heard[-1] == (6, 6)


@pytest.mark.parametrize("name", ["net.onnx", "data.npz"])
def test_file_that_was_replaced_gives_nothing_more(
    models: ModelProcess, spec: ModelSpec, tmp_path: Path, name: str
) -> None:
    found = models.find(spec, 1)
    assert found.task is not None
    if name == "data.npz":
        arrays = dict(np.load(tmp_path / name))
        np.savez(tmp_path / name, **{**arrays, "inputs": arrays["inputs"] + 1})
    else:
        model = convolutional()
        model.producer_name = "another"
        save(model, tmp_path / name)
    with pytest.raises(InputError, match="were changed while the sweep ran"):
        found.task.inputs(1)


def test_what_it_runs_may_fail_and_the_next_is_answered(
    models: ModelProcess, spec: ModelSpec
) -> None:
    found = models.find(spec, 1)
    assert found.task is not None

    def run(feeds: Feeds) -> list[np.ndarray]:
        raise InputError("the board is gone")

    with pytest.raises(InputError, match="the board is gone"):
        found.task.evaluate(run, lambda done, total: None)
    assert len(found.task.inputs(2)) == 2


def test_model_that_is_no_file_is_refused_at_once(models: ModelProcess, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"net\.onnx: expected a model file, found a pipe"):
        models.find(ModelSpec(name="net", path=path), 1)
