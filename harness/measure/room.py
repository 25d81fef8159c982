"""Refuses models whose inputs and outputs cannot be held, before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.models.tensors import TensorSpec
from harness.specs.sweep import Sweep

_COPIES = 3
"""Arrays in memory while outputs are verified: inputs, the reference's outputs, and others."""


def require_room(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], sweep: Sweep
) -> None:
    """Raise InputError where the tensors of a sweep's model take more than its limit of memory, or
    hold numbers of a kind that NumPy does not have."""
    sizes = {spec.name: _bytes(spec, path) for spec in (*inputs, *outputs)}
    needed = _COPIES * sweep.measure.verify_inputs * sum(sizes.values())
    if needed > 1e6 * sweep.limits.memory_mb:
        largest = max((*inputs, *outputs), key=lambda spec: sizes[spec.name])
        raise InputError(
            f"{path}: verifying it takes {needed / 1e6:,.0f} MB for its inputs and outputs, more "
            f"than the {sweep.limits.memory_mb} MB of limits.memory_mb; the largest is {largest}"
        )


def _bytes(spec: TensorSpec, path: Path) -> int:
    try:
        return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
    except TypeError:
        raise InputError(
            f"{path}: '{spec.name}' is {spec.dtype}, which NumPy does not have; expected plain "
            "numbers"
        ) from None
