"""Images resized by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import Drawn, assert_like_pytorch, thinned, torch

Functions = Mapping[str, Callable[..., Any]]
F = torch.nn.functional
resize = F.interpolate

SHAPES = {1: (2, 3, 7), 2: (1, 2, 6, 7), 3: (1, 2, 3, 4, 5)}
SIZES = {1: [(3,), (14,), (1,)], 2: [(12, 14), (4, 9)], 3: [(2, 5, 8)]}
SCALES = [2, 1.7]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def each_size(rank: int, mode: str, **options: Any) -> Functions:
    found: dict[str, Callable[..., Any]] = {
        f"{mode} to {size}": lambda x, size=size: resize(x, size=size, mode=mode, **options)
        for size in SIZES[rank]
    }
    for scale in SCALES:
        name = f"{mode} by {scale}"
        found[name] = lambda x, s=scale: resize(x, scale_factor=s, mode=mode, **options)
        if scale == 2:
            continue
        found[f"{name}, computed"] = lambda x, s=scale: resize(
            x, scale_factor=s, mode=mode, recompute_scale_factor=True, **options
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest(tmp_path: Path, rank: int, mode: str) -> None:
    x = Drawn(f"{mode} {rank}").floats(*SHAPES[rank])
    assert_like_pytorch(each_size(rank, mode), [x], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("corners", [False, True])
def test_linear(tmp_path: Path, rank: int, corners: bool) -> None:
    x = Drawn(f"linear {rank}").floats(*SHAPES[rank])
    functions = each_size(rank, LINEAR[rank], align_corners=corners)
    assert_like_pytorch(functions, [x], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("corners", [False, True])
def test_cubic(tmp_path: Path, corners: bool) -> None:
    x = Drawn("cubic").floats(*SHAPES[2])
    functions = each_size(2, "bicubic", align_corners=corners)
    assert_like_pytorch(functions, [x], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiased(tmp_path: Path, mode: str) -> None:
    x = Drawn(f"antialiased {mode}").floats(*SHAPES[2])
    assert_like_pytorch(each_size(2, mode, antialias=True), [x], tmp_path)


@pytest.mark.slow
def test_resized_in_double_precision_and_unfused(tmp_path: Path) -> None:
    functions: Functions = {
        "linear": lambda x: resize(x, (4, 9), mode="bilinear"),
        "cubic": lambda x: resize(x, (9, 4), mode="bicubic"),
        "nearest": lambda x: resize(x, scale_factor=2),
        "area": lambda x: resize(x, (3, 2), mode="area"),
        "upsampled": lambda x: torch.nn.UpsamplingBilinear2d(scale_factor=2)(x),
    }
    x = Drawn("double").floats(*SHAPES[2], dtype=torch.float64)
    assert_like_pytorch(functions, [x], tmp_path, levels=["none"])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_floats_are_rounded_once(tmp_path: Path, dtype: Any) -> None:
    """Of whole numbers, whose means of four single precision holds."""
    x = Drawn(f"once {dtype}").whole(-99, 100, 1, 2, 4, 6, dtype=torch.float32)
    halved = {
        "bilinear": lambda x: F.interpolate(x.to(dtype), scale_factor=0.5, mode="bilinear").float()
    }
    assert_like_pytorch(halved, [x], tmp_path, tolerance=0)


@pytest.mark.parametrize("corners", [False, True])
def test_sampled_at_a_grid(tmp_path: Path, corners: bool) -> None:
    drawn = Drawn("grid")
    functions: Functions = {
        f"{mode} {padding}": lambda x, g, m=mode, p=padding: F.grid_sample(
            x, g, m, p, align_corners=corners
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
    }
    functions |= {
        "affine": lambda x, g: F.grid_sample(
            x, F.affine_grid(g[:, 0, :1].reshape(1, 1, 2).expand(1, 2, 2).repeat(1, 1, 2)[..., :3],
                             [1, 2, 4, 4], align_corners=corners), align_corners=corners)
    }  # fmt: skip
    given = [drawn.floats(*SHAPES[2]), drawn.between(-1.4, 1.4, 1, 4, 5, 2)]
    assert_like_pytorch(thinned(functions, 3 + corners), given, tmp_path)
