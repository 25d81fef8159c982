"""Data of the inputs that are no state."""

from __future__ import annotations

import numpy as np

from harness.models.accuracy.metrics import METRICS
from harness.models.data.initial_state import TaskFromInitialState, training_from_initial_state
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, TrainingInputs

SCORES = np.eye(4, dtype=np.float32)
INITIAL = {"h": np.full((1, 4), 0.25, np.float32)}


def sample(at: int) -> Feeds:
    return {"x": SCORES[at : at + 1]}


def test_every_sample_begins_with_the_first_state() -> None:
    task = TaskFromInitialState(Samples(METRICS["top1"], np.arange(4), sample), INITIAL)
    seen = []

    def run(feeds: Feeds) -> list[np.ndarray]:
        seen.append(feeds)
        return [feeds["x"]]

    found = task.evaluate(run, lambda done, total: None)
    assert (task.metric, found.value, found.samples) == ("top-1 accuracy", 1.0, 4)
    for rows in (seen, task.inputs(2), task.examples(2)):
        assert all(np.array_equal(row["h"], INITIAL["h"]) for row in rows)
    assert np.array_equal(task.inputs(2)[1]["x"], SCORES[1:2])


def test_training_inputs_begin_with_it_too() -> None:
    training = training_from_initial_state(TrainingInputs(4, sample, "f00d"), INITIAL)
    first, second = training.inputs(2)
    assert list(first) == ["x", "h"] and np.array_equal(second["x"], SCORES[1:2])
    assert training.fingerprint == "f00d"
