"""The inputs that a model is verified and measured on: real ones, or random ones that say so."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.baselines.base import Feeds
from harness.models.task import Task
from harness.models.tensors import TensorSpec


def verification_inputs(
    task: Task | None, inputs: Sequence[TensorSpec], count: int, seed: int
) -> tuple[list[Feeds], bool]:
    """`count` inputs, and whether they are real (from labelled data) or random."""
    if task is not None:
        return list(task.inputs(count)), True
    generator = np.random.default_rng(seed)
    return [{spec.name: _random(generator, spec) for spec in inputs} for _ in range(count)], False


def _random(generator: np.random.Generator, spec: TensorSpec) -> np.ndarray:
    """Standard normal floats; integers are 0 or 1, which are valid as indices and as masks."""
    if np.dtype(spec.dtype).kind == "f":
        return generator.standard_normal(spec.shape).astype(spec.dtype)
    return generator.integers(0, 2, spec.shape).astype(spec.dtype)


def write_arrays(path: Path, rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> None:
    """Write several lists of named arrays, in order, to one `.npz` file, atomically."""
    arrays = {
        f"{at:07d}/{position:04d}/{name}": array
        for at, row in enumerate(rows)
        for position, (name, array) in enumerate(row)
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    os.replace(temporary, path)


def read_arrays(path: Path) -> list[dict[str, np.ndarray]]:
    """What `write_arrays` wrote, a dictionary in order for each list."""
    rows: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in sorted(file.files):
            at, _, name = key.split("/", 2)
            rows.setdefault(at, {})[name] = file[key]
    return [rows[at] for at in sorted(rows)]
