"""Pooling of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import NAN, VARIANTS, Drawn, assert_like_pytorch, thinned, torch

Functions = Mapping[str, Callable[..., Any]]
F = torch.nn.functional

LARGEST: Functions = {
    "plain": lambda x, r, c: [F.max_pool2d(x, 2), F.max_pool1d(r, 3), F.max_pool3d(c, 2)],
    "strides": lambda x, r, c: [F.max_pool2d(x, (3, 2), (1, 2)), F.max_pool1d(r, 3, 1, 1)],
    "padding": lambda x, r, c: [F.max_pool2d(x, 3, 2, 1), F.max_pool3d(c, 2, 2, 1)],
    "dilation": lambda x, r, c: [F.max_pool2d(x, 2, 1, 1, dilation=(2, 3))],
    "rounded up": lambda x, r, c: [
        F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.max_pool2d(x, 2, 3, ceil_mode=True),
        F.max_pool1d(r, 4, 3, ceil_mode=True),
        F.max_pool3d(c, 2, 3, ceil_mode=True),
    ],
    "no batch": lambda x, r, c: [F.max_pool2d(x[0], 2), F.max_pool1d(r[0], 3)],
    "places": lambda x, r, c: [
        *F.max_pool2d(x, 2, return_indices=True),
        *F.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True),
        *F.max_pool2d(x, 2, 1, 1, dilation=2, return_indices=True),
        *F.max_pool1d(r, 3, return_indices=True),
        *F.max_pool3d(c, 2, 1, 1, return_indices=True),
    ],
    "adaptive": lambda x, r, c: [
        F.adaptive_max_pool2d(x, (3, 2)),
        F.adaptive_max_pool2d(x, (None, 1)),
        F.adaptive_max_pool2d(x, 12),
        F.adaptive_max_pool1d(r, 4),
        F.adaptive_max_pool3d(c, (2, 3, 1)),
        F.adaptive_max_pool2d(x[0], 3),
    ],
}
MEANS: Functions = {
    "plain": lambda x, r, c: [F.avg_pool2d(x, 2), F.avg_pool1d(r, 3), F.avg_pool3d(c, 2)],
    "padding": lambda x, r, c: [
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool1d(r, 4, 2, 2, count_include_pad=False),
        F.avg_pool3d(c, 2, 2, 1, count_include_pad=False),
    ],
    "rounded up": lambda x, r, c: [
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        F.avg_pool2d(x, 2, 3, ceil_mode=True),
        F.avg_pool1d(r, 4, 3, ceil_mode=True),
        F.avg_pool3d(c, 2, 3, 1, ceil_mode=True),
    ],
    "divisor": lambda x, r, c: [
        F.avg_pool2d(x, 2, divisor_override=3),
        F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=5),
        F.avg_pool3d(c, 2, divisor_override=2),
    ],
    "no batch": lambda x, r, c: [F.avg_pool2d(x[0], 2), F.avg_pool1d(r[0], 3)],
    "adaptive": lambda x, r, c: [
        F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, (3, 2)),
        F.adaptive_avg_pool2d(x, (None, 4)),
        F.adaptive_avg_pool2d(x, 12),
        F.adaptive_avg_pool1d(r, 4),
        F.adaptive_avg_pool3d(c, (2, 3, 1)),
        F.adaptive_avg_pool2d(x[0], 3),
    ],
    "power": lambda x, r, c: [F.lp_pool2d(x, 2, 2), F.lp_pool1d(r.abs(), 3, 2)],
}


@pytest.mark.slow
@pytest.mark.parametrize("functions", [LARGEST, MEANS], ids=["largest", "means"])
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_pooling(tmp_path: Path, functions: Functions, dtype: Any, level: str, step: int) -> None:
    drawn = Drawn(f"pooling {dtype}")
    shapes = [(2, 3, 9, 8), (2, 3, 11), (1, 2, 4, 6, 5)]
    given = [drawn.floats(*shape, dtype=dtype) for shape in shapes]
    assert_like_pytorch(thinned(functions, step), given, tmp_path, levels=[level])


@pytest.mark.slow
def test_first_of_equal_elements_and_nan(tmp_path: Path) -> None:
    x = Drawn("equal").whole(0, 3, 1, 2, 6, 6).float()
    x[0, 0, 2, 3] = NAN
    functions: Functions = {
        "places": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        "adaptive": lambda x: F.adaptive_max_pool2d(x, 4),
    }
    assert_like_pytorch(functions, [x], tmp_path)
