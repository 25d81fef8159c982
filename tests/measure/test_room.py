"""Models whose inputs nobody can hold are refused before any is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.measure.room import require_room
from harness.models.tensors import TensorSpec
from harness.specs.sweep import Sweep

SWEEP = Sweep.model_validate(
    {"schema": 1, "models": ["m"], "configurations": [{"name": "c"}], "limits": {"memory_mb": 256}}
)
PATH = Path("net.onnx")
SMALL = TensorSpec("y", (1, 10), "float32")


def test_room_is_what_the_sweep_grants() -> None:
    """Four inputs, and three copies of each tensor: 12 × 4 MB is less than 256 MB, 12 × 40 more."""
    require_room(PATH, [TensorSpec("x", (10**6,), "float32")], [SMALL], SWEEP)
    with pytest.raises(InputError, match=r"net\.onnx: .*480 MB.*256 MB of limits.*x: float32"):
        require_room(PATH, [TensorSpec("x", (10**7,), "float32")], [SMALL], SWEEP)
    with pytest.raises(InputError, match=r"the largest is x: float32 \[1048576, 1048576\]"):
        require_room(PATH, [TensorSpec("x", (2**20, 2**20), "float32")], [SMALL], SWEEP)


def test_numbers_that_numpy_lacks_are_refused() -> None:
    with pytest.raises(InputError, match=r"net\.onnx: 'x' is float7, which NumPy does not have"):
        require_room(PATH, [TensorSpec("x", (1,), "float7")], [SMALL], SWEEP)
