"""Sweeps of small models for the tests, and a listener that remembers what it heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from small_models import convolutional, save

from harness.records.record import Record

QUICK = {"repeats": 8, "min_seconds": 0, "sample_ms": 1, "processes": 1, "verify_inputs": 2}
PLAIN = {"name": "plain", "fusion": "none"}
FUSED = {"name": "fused", "fusion": "full"}


def write_sweep(
    folder: Path,
    models: Sequence[str] = ("good",),
    *,
    network: onnx.ModelProto | None = None,
    training: np.ndarray | None = None,
    **keys: Any,
) -> Path:
    """A sweep file in `folder` over copies of a small network, one for each name, which have
    training inputs if any are given."""
    for name in models:
        save(network or convolutional(), folder / f"{name}.onnx")
    named: list[Any] = [f"./{name}.onnx" for name in models]
    if training is not None:
        np.savez(folder / "training.npz", inputs=training)
        named = [
            {"name": name, "path": f"{name}.onnx", "training": "training.npz"} for name in models
        ]
    sweep = {
        "schema": 1,
        "models": named,
        "configurations": [PLAIN, FUSED],
        "measure": QUICK,
        **keys,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path


class Heard:
    """A sweep's listener."""

    def __init__(self) -> None:
        self.total = self.finished_before = 0
        self.stages: list[tuple[str, str]] = []
        self.trials: list[int] = []
        self.records: list[Record] = []
        self.notes: list[str] = []

    def planned(self, total: int, finished: int) -> None:
        self.total, self.finished_before = total, finished

    def working(self, label: str, stage: str) -> None:
        self.stages.append((label, stage))

    def progress(self, label: str, stage: str, done: float, total: float, detail: str = "") -> None:
        self.stages.append((label, stage))

    def tuning(self, label: str, progress: dict[str, Any]) -> None:
        self.trials.append(progress["trials"])

    def finished(self, record: Record) -> None:
        self.records.append(record)

    def note(self, text: str) -> None:
        self.notes.append(text)
