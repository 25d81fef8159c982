"""Reductions of PyTorch, and sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import NAN, VARIANTS, Drawn, assert_like_pytorch, thinned, torch

Functions = Mapping[str, Callable[..., Any]]

OF_FLOATS: Functions = {
    "sum": lambda x: [x.sum(), x.sum(1), x.sum((0, -1)), x.sum(-2, keepdim=True)],
    "sum in double": lambda x: [x.sum(dtype=torch.float64), x.sum(1, dtype=torch.float64)],
    "mean": lambda x: [x.mean(), x.mean(-1), x.mean((0, 2), keepdim=True)],
    "prod": lambda x: [x.prod(), x.prod(1), x.prod(-1, keepdim=True)],
    "amax": lambda x: [x.amax(), x.amax((0, -1)), x.amin(1, keepdim=True), x.amin()],
    "max": lambda x: [x.max(), x.min()],
    "max along": lambda x: [*x.max(1), *x.max(-1, keepdim=True), *x.min(0), *x.min(-2)],
    "argmax": lambda x: [x.argmax(), x.argmax(1), x.argmax(-1, keepdim=True), x.argmin(0)],
    "argmin": lambda x: [x.argmin(), x.argmin(keepdim=True), x.argmin(-1)],
    "aminmax": lambda x: [*torch.aminmax(x), *torch.aminmax(x, dim=1)],
    "any": lambda x: [(x > 1).any(), x.any(1), (x > 0).any(-1, keepdim=True)],
    "all": lambda x: [(x > -1).all(), x.all(1), torch.all(x > -1, dim=(0, 2))],
    "var": lambda x: [x.var(), x.var(1), x.var((0, 2), correction=0), x.var(-1, keepdim=True)],
    "std": lambda x: [x.std(), x.std(-1, correction=2), x.std(0, unbiased=False, keepdim=True)],
    "var_mean": lambda x: [*torch.var_mean(x, 1), *torch.std_mean(x, (0, 1), keepdim=True)],
    "norm": lambda x: [
        x.norm(),
        torch.linalg.vector_norm(x, 1, (0, 1)),
        torch.linalg.vector_norm(x, 3, -1, keepdim=True),
        torch.linalg.vector_norm(x, 0, 1),
        torch.linalg.vector_norm(x, float("inf")),
        torch.linalg.vector_norm(x, -float("inf"), 1),
        torch.linalg.vector_norm(x, 0.5, 1),
    ],
    "histc": lambda x: [x.histc(4, -1, 1), x.histc(7, -0.5, 2), (x * 3).round().histc(5, 0, 4)],
    "normalized": lambda x: torch.nn.functional.normalize(x, dim=1),
    "cumsum": lambda x: [x.cumsum(1), x.cumsum(-1)],
    "cumprod": lambda x: [x.cumprod(0), x.cumprod(-1)],
    "cummax": lambda x: [*x.cummax(1), *x.cummin(-1)],
    "logsumexp": lambda x: [torch.logsumexp(x, 1), torch.logsumexp(x, (0, 2), keepdim=True)],
    "kthvalue": lambda x: [*x.kthvalue(2, 1), *x.kthvalue(1, -1, keepdim=True)],
    "median": lambda x: [*x.median(1), *x.median(-1, keepdim=True), x.median()],
    "diff": lambda x: x.diff(dim=1),
    "softmax": lambda x: [x.softmax(1), x.log_softmax(-1), torch.nn.functional.softmin(x, 0)],
    "dist": lambda x: torch.dist(x, x + 1),
    "distances": lambda x: [
        torch.cdist(x, x[:, :2] + 1, p) for p in (0.0, 1.0, 2.0, 3.0, float("inf"))
    ],
    "trace": lambda x: x[0].trace(),
    "count_nonzero": lambda x: [torch.count_nonzero(x > 0), torch.count_nonzero(x > 0, 1)],
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_reductions_of_floats(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    x = Drawn(f"reductions {dtype}").floats(4, 5, 6, dtype=dtype)
    assert_like_pytorch(thinned(OF_FLOATS, step), [x], tmp_path, levels=[level])


OF_INTEGERS: Functions = {
    "sum": lambda x: [x.sum(), x.sum(1), x.sum((0, -1), keepdim=True), x.sum(dtype=torch.int32)],
    "mean": lambda x: [x.float().mean(1), x.mean(1, dtype=torch.float32)],
    "prod": lambda x: [x.prod(1), x[:, :2, 0].prod()],
    "extrema": lambda x: [x.amax(1), x.amin((0, 1)), x.max(), x.min()],
    "extrema along": lambda x: [*x.max(1), *x.min(-1, keepdim=True)],
    "places": lambda x: [x.argmax(1), x.argmin(), x.argmax(-1, keepdim=True)],
    "truths": lambda x: [x.any(1), x.all(-1), x.any(), x.all()],
    "running": lambda x: [x.cumsum(1), x.cumprod(-1), *x.cummax(1), *x.cummin(0)],
    "running in floats": lambda x: x.cumsum(1, dtype=torch.float32),
    "count": lambda x: torch.count_nonzero(x, 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8], ids=str)
def test_reductions_of_integers(tmp_path: Path, dtype: Any) -> None:
    low = 0 if dtype == torch.uint8 else -3
    x = Drawn(f"reductions {dtype}").whole(low, 4, 4, 5, 6, dtype=dtype)
    assert_like_pytorch(OF_INTEGERS, [x], tmp_path)


@pytest.mark.slow
def test_reductions_of_truth_values(tmp_path: Path) -> None:
    functions: Functions = {
        "sum": lambda x: [x.sum(), x.sum(1), x.sum(-1, keepdim=True), x.float().mean()],
        "truths": lambda x: [x.any(), x.all(1), x.any((0, 2)), x.all(), x.prod(1)],
        "places": lambda x: [x.long().argmax(1), x.int().argmin(-1)],
        "running": lambda x: [x.cumsum(1), x.cumsum(-1, dtype=torch.int32)],
        "extrema": lambda x: [x.amax(1), x.amin(0), x.max(), *x.max(1)],
    }
    assert_like_pytorch(functions, [Drawn("truths").truths(3, 4, 5)], tmp_path)


@pytest.mark.slow
def test_reductions_keep_nan_and_find_the_first_of_equals(tmp_path: Path) -> None:
    x = torch.tensor([[1.0, NAN, 3, NAN], [2, 2, 1, 1], [0, -1, -1, 0], [-1, float("inf"), 0, 1]])
    functions: Functions = {
        "extrema": lambda x: [x.amax(1), x.amin(1), *x.max(1), *x.min(1), x.max()],
        "places": lambda x: [x.argmax(1), x.argmin(1), x.argmax(), x.argmin()],
        "sums": lambda x: [x.sum(1), x.mean(0), x.cumsum(1), x.nansum(1)],
        "running": lambda x: [*x.cummax(1), *x.cummin(1)],
        "truths": lambda x: [x.any(1), x.all(1)],
        "norms": lambda x: [x.norm(dim=1), torch.logsumexp(x, 1)],
    }
    assert_like_pytorch(functions, [x], tmp_path)


@pytest.mark.slow
def test_reductions_of_no_axis_and_of_one_element(tmp_path: Path) -> None:
    functions: Functions = {
        "sum": lambda x, y: [x.sum(), x.sum(0), x.mean(), y.sum(1), y.prod(0)],
        "extrema": lambda x, y: [x.max(), x.amax(), *x.max(0), x.argmax(), x.argmax(0)],
        "spread": lambda x, y: [y.var(1), y.std(0), y.var(0, correction=0), *y.kthvalue(1, 0)],
        "running": lambda x, y: [x.cumsum(0), *x.cummax(0), x.cumprod(-1)],
        "truths": lambda x, y: [x.any(), x.all(0), y.any()],
        "norms": lambda x, y: [x.norm(), torch.linalg.vector_norm(y, 3, 0)],
    }
    given = [torch.tensor(1.5), torch.tensor([[2.0, -1, 0]])]
    assert_like_pytorch(functions, given, tmp_path)
