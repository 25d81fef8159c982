"""Metrics as users write them, right and wrong ones; the tests name them `own_metrics:…`."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

Outputs = list[np.ndarray]


def margin(outputs: Outputs, labels: np.ndarray) -> np.ndarray:
    """A score a sample: that of the true class above the largest other one."""
    (scores,) = outputs
    rows = np.arange(len(labels))
    true = scores[rows, labels].copy()
    scores[rows, labels] = -np.inf
    return true - scores.max(axis=1)


def hits(outputs: Outputs, labels: np.ndarray) -> np.ndarray:
    return outputs[0].argmax(axis=1) == labels


def share(outputs: Outputs, labels: np.ndarray) -> float:
    return float(hits(outputs, labels).mean())


def shapes(outputs: Outputs, labels: np.ndarray) -> float:
    """Fails with what it was given."""
    raise ValueError(f"{[each.shape for each in outputs]} {labels.shape} {labels.dtype}")


def crash(outputs: Outputs, labels: np.ndarray) -> float:
    os.abort()


def hang(outputs: Outputs, labels: np.ndarray) -> float:
    time.sleep(3600)
    return 1.0


def leave(outputs: Outputs, labels: np.ndarray) -> float:
    print("not for the channel")
    raise SystemExit("bye")


def matrix(outputs: Outputs, labels: np.ndarray) -> np.ndarray:
    return outputs[0]


def text(outputs: Outputs, labels: np.ndarray) -> Any:
    return "good"


def not_a_number(outputs: Outputs, labels: np.ndarray) -> float:
    return float("nan")
