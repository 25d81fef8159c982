"""A value of any type for any key of a file is taken, or refused in a sentence with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import InputError
from harness.hardware import load_target
from harness.specs.sweep import Sweep

SWEEP = {
    "schema": 1,
    "name": "n",
    "models": ["fashion-dscnn", {"name": "m", "path": "./m.onnx", "shapes": {"x": [1, 2]}}],
    "targets": ["x86-host"],
    "configurations": [
        {
            "name": "a",
            "fusion": "full",
            "edges": {
                "score": "magnitude", "pattern": "block", "sparsity": 0.5, "budget": "uniform",
                "shuffle": False, "reconstruct": False, "calibration": 4, "exclude": ["x"],
                "merge": False, "bypass": 0.1,
                "finetune": {
                    "epochs": 2, "stages": 1, "learning_rate": 0.1, "batch": 4, "layers": 1.0,
                    "crops": 0.5,
                },
            },
            "tune": {"trials": 4},
        }
    ],
    "baselines": ["onnxruntime"],
    "measure": {
        "repeats": 6, "min_seconds": 1, "sample_ms": 1, "verify_inputs": 2, "accuracy_samples": 3,
    },
    "limits": {"cell_minutes": 1, "memory_mb": 512},
    "batch": [1],
    "threads": [1],
    "streams": [1],
    "seed": 1,
}  # fmt: skip
TARGET = {
    "schema": 1,
    "name": "t",
    "architecture": "x86",
    "tvm": {"kind": "llvm", "mcpu": "haswell", "num-cores": 2, "mattr": ["+avx2"]},
    "device": {"kind": "local"},
    "hardware": {"cores": 2, "peak_gflops": 1.0, "memory_bandwidth_gbs": 1.0},
    "passes": {"layout": "NHWC", "pack_weights": True, "sparse_kernels": True},
}
WRONG: list[Any] = [None, True, -1, 1.5, "x", [], {}, [[]], [{}], {"a": 1}, 10**30, float("nan")]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: replaced(value[key], tuple(rest), by)}
    return [replaced(v, tuple(rest), by) if at == key else v for at, v in enumerate(value)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "read"), [(SWEEP, Sweep.read), (TARGET, lambda path: load_target(str(path)))]
)
def test_any_value_is_taken_or_refused(
    document: dict[str, Any], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "document.yaml"
    path.write_text(yaml.safe_dump(document))
    read(path)
    refused = 0
    for key in paths(document):
        for value in WRONG:
            path.write_text(yaml.safe_dump(replaced(document, key, value)))
            try:
                read(path)
            except InputError as error:
                assert path.name in str(error), (key, value)
                refused += 1
    assert refused > 100
