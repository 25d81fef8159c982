"""Copies of a network that run side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from small_models import convolutional, save

from harness.errors import CellFailure
from harness.files.arrays import write_arrays
from harness.measure import streams
from harness.measure.member import Member
from harness.measure.streams import Streams
from harness.specs.sweep import Limits


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Streams]:
    """Two copies in ONNX Runtime, loaded and ready."""
    path = save(convolutional(), tmp_path / "m.onnx")
    inputs = tmp_path / "inputs.npz"
    write_arrays(inputs, [[("x", np.ones((1, 3, 8, 8), np.float32))]])
    found = Streams(Member("m", "m", "onnxruntime", path), 2, 1, Limits(), {})
    try:
        found.load()
        prepare = {"do": "prepare", "inputs": str(inputs), "warm_up_seconds": 0.01}
        found.seconds_per_run = float(found.ask(prepare)["seconds"])
        yield found
    finally:
        found.close()


def processes(found: Streams) -> list[psutil.Process]:
    return [psutil.Process(copy._child.process_id) for copy in found._copies]


def test_samples_give_latency_of_one_and_interval_of_all(two: Streams) -> None:
    latencies = [two.sample(200) for _ in range(3)]
    intervals = two.measured.intervals
    assert len(intervals) == 3 and min(intervals) > 0
    for latency, interval in zip(latencies, intervals, strict=True):
        assert 2 * interval / latency > 0.5  # more where a copy has to wait


def test_copies_run_on_cores_of_their_own_as_far_as_there_are(two: Streams) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    expected = [{cpus[at % len(cpus)]} for at in range(2)]
    assert [{*process.cpu_affinity()} for process in processes(two)] == expected


def test_copies_that_do_not_get_ready_together_fail(
    two: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> dict[str, bool]:
        return {"late": True}

    monkeypatch.setattr(streams, "_MOST_LEAD", 0.5)
    monkeypatch.setattr(streams.ProcessRunner, "ask", never)
    with pytest.raises(CellFailure, match=r"2 copies did not get ready in 0\.5 s"):
        two.sample(1)
    assert two.measured.intervals == []


def test_nothing_is_left_when_they_are_closed(two: Streams) -> None:
    found = processes(two)
    two.close()
    assert not any(process.is_running() for process in found)
