"""Operators of PyTorch that move, cut or join elements, or make them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import NAN, Drawn, assert_like_pytorch, refusal, thinned, torch

Functions = Mapping[str, Callable[..., Any]]
pad = torch.nn.functional.pad


def _diagonal_written(x: Any, offset: int, numbers: Any, *dims: int) -> Any:
    x.diagonal(offset, *dims).add_(numbers)
    return x


def _row_written(x: Any, numbers: Any) -> Any:
    x.t()[0].copy_(numbers)
    return x


MOVED: Functions = {
    "views": lambda x, y: [x.reshape(-1), x.view(4, -1), x.flatten(1), x.unflatten(1, (2, 3))],
    "orders": lambda x, y: [x.permute(2, 0, 1), x.transpose(0, -1), x.movedim(0, 2), y.T, x.mT],
    "copies": lambda x, y: [x.clone(), x.detach() + 0, x.transpose(0, 1).contiguous()],
    "slices": lambda x, y: [x[1:], x[:, -2:], x[..., ::2], x[:, 1:4:2], x[:, 10:], x[:, :, 1]],
    "select": lambda x, y: [x.select(1, -1), x[0], x[-1, 2], x.narrow(1, 2, 3)],
    "squeezed": lambda x, y: [x[:1].squeeze(), x[:, :1].squeeze(1), x[:1, :1].squeeze((0, 1))],
    "unsqueezed": lambda x, y: [x.unsqueeze(0), x.unsqueeze(-1), x[None, :, None]],
    "expanded": lambda x, y: [x[:1].expand(3, -1, -1), y.expand(2, 6, 4), x[:, :1].expand_as(x)],
    "joined": lambda x, y: [
        torch.cat([x, x, x[:1]]),
        torch.cat([x, y[None].expand(4, 6, 4)], -1),
        torch.stack([x, x + x], 1),
        torch.cat([x[:, :0], x], 1),
        torch.cat([y, torch.zeros(0, dtype=y.dtype)]),
        torch.hstack([y, y]),
        torch.vstack([y, y]),
    ],
    "split": lambda x, y: [
        *x.split(4, 1),
        *x.split([1, 3, 2], 1),
        *x.chunk(3, -1),
        *x.unbind(0),
        *torch.tensor_split(x, 3, 1),
    ],
    "repeated": lambda x, y: [
        y.repeat(2, 3),
        y.repeat(2, 1, 2),
        torch.tile(y, (2,)),
        y.repeat_interleave(3, 0),
        y.repeat_interleave(2),
    ],
    "flipped": lambda x, y: [x.flip(1), x.flip(0, -1), x.roll(2, 1), x.roll((1, -2), (0, 2)),
                             y.rot90(), x.roll(5)],
    "unfolded": lambda x, y: [x.unfold(1, 3, 2), x.unfold(-1, 2, 1), x.unfold(0, 4, 1)],
    "strided": lambda x, y: [
        x.as_strided((3, 4), (2, 5)),
        x.as_strided((2, 2, 3), (1, 12, 4), 7),
        torch.as_strided(y, (5,), (0,)),
    ],
    "triangles": lambda x, y: [x.tril(), x.triu(1), x.tril(-1), y.triu(-2)],
    "diagonals": lambda x, y: [
        y.diagonal(),
        x.diagonal(1, 1, 2),
        x.diagonal(-1, 0, -1),
        torch.diag(y[0]),
        torch.diag_embed(y),
        torch.diag(y, 1),
    ],
    "padded": lambda x, y: [
        pad(x, (1, 2)),
        pad(x, (0, 1, 2, 0, 1, 1), value=3),
        pad(x, (-1, 2, 1, -2), value=1),
        pad(x, (-1, -1)),
    ],
    "sorted": lambda x, y: [
        *x.sort(dim=1, stable=True),
        *x.sort(dim=-1, descending=True, stable=True),
        x.sort(0).values,
        x.argsort(dim=1, stable=True),
        x.msort(),
    ],
    "top": lambda x, y: [
        *x.topk(2, 1),
        *x.topk(3, -1, largest=False),
        x.topk(1, 0, sorted=False).values,
        x.topk(4).values,
    ],
    "made": lambda x, y: [
        torch.full_like(x, 2),
        torch.zeros_like(x),
        torch.ones_like(y, dtype=torch.int32),
        x.new_full((2, 3), 4),
        torch.full((2,), -float("inf")) * x[0, 0, 0].float().exp(),
        x.new_zeros(2),
        x.new_ones((1, 2)),
        torch.full((2, 2), 7) + y[:2, :2].long(),
        torch.eye(3, 4) + y[:3, :4].float() * 0,
    ],
    "written into views": lambda x, y: [
        _diagonal_written(y.clone(), 0, y[1]),
        _diagonal_written(y.clone(), 1, y[0, :3]),
        _diagonal_written(y.clone(), -2, y[2]),
        _diagonal_written(x.clone(), 1, x[0, 0, :4], 2, 1),
        _row_written(y.clone(), y[:, 1]),
    ],
    "mapped": lambda x, y: torch.vmap(lambda each: (each * y[0]).sum(-1))(x),
    "meshes": lambda x, y: [*torch.meshgrid(y[0], y[:, 0], indexing="ij")],
    "shuffled": lambda x, y: torch.nn.functional.pixel_shuffle(x.reshape(1, 4, 4, 6), 2),
    "channels": lambda x, y: torch.nn.functional.channel_shuffle(x.reshape(1, 4, 4, 6), 2),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_movement(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"moved {dtype}")
    values = drawn.permutation(4 * 6 * 4).reshape(4, 6, 4).to(dtype)
    other = (drawn.permutation(24).reshape(6, 4) * 7 % 100).to(dtype)
    functions = MOVED if dtype == torch.float32 else thinned(MOVED, 3)
    level = "none" if dtype == torch.float64 else "full"
    assert_like_pytorch(functions, [values, other], tmp_path, levels=[level])


@pytest.mark.slow
def test_movement_of_truth_values(tmp_path: Path) -> None:
    drawn = Drawn("moved truths")
    left = {"sorted", "top", "made", "shuffled", "channels"}
    functions = {name: function for name, function in MOVED.items() if name not in left}
    functions = thinned(functions, 2)
    functions["padded"] = lambda x, y: [pad(x, (1, 2)), pad(x, (-1, 2), value=1)]
    given = [drawn.truths(4, 6, 4), drawn.truths(6, 4)]
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.slow
def test_order_of_equal_elements_and_nan(tmp_path: Path) -> None:
    x = torch.tensor([[2.0, NAN, 1, 2, -1, NAN, 0, 1], [0, 0, 0, -0.0, 1, 1, float("inf"), -1]])
    functions: Functions = {
        "sorted": lambda x: [
            *x.sort(dim=-1, stable=True),
            *x.sort(dim=-1, stable=True, descending=True),
        ],
        "top": lambda x: [x.topk(5).values, x.topk(3, largest=False).values],
        "least": lambda x: [x.kthvalue(3).values, x.median(1).values],
    }
    assert_like_pytorch(functions, [x], tmp_path)


@pytest.mark.slow
def test_tensors_made_of_numbers(tmp_path: Path) -> None:
    functions: Functions = {
        "ranges": lambda x: [
            torch.arange(5) + x.long(),
            torch.arange(1, 11, 2) * x,
            torch.arange(0, 1, 0.2) + x,
            torch.arange(5, 0, -1) + x.long(),
            torch.linspace(0, 1, 5) + x,
            torch.linspace(2, -3, 5) * x,
        ],
        "filled": lambda x: [torch.full_like(x, 2), torch.full((5,), 1.5)],
        "numbers": lambda x: [torch.tensor(3) + x, x + torch.tensor([1.0, 2, 3, 4, 5])],
        "of no axis": lambda x: [x[0].expand(3), x[0].reshape(1, 1), x[0].unfold(0, 1, 1)],
        "sorted": lambda x: [*x[0].sort(), x[2].squeeze()],
        "windows": lambda x: [torch.hann_window(5) * x, torch.hamming_window(5) + x],
        "one of many": lambda x: torch.nn.functional.one_hot(x.long().abs() % 4, 4),
        "tril": lambda x: torch.tril_indices(3, 3)[0] + x[0].long(),
        "mixed": lambda x: [torch.cat([x, x.long()]), torch.cat([x.double(), x])],
    }
    given = [torch.tensor([0.5, -2, 3, 7, 1])]
    assert_like_pytorch(functions, given, tmp_path)


def test_a_view_of_elements_that_are_not_in_order_is_refused(tmp_path: Path) -> None:
    functions: Functions = {"view": lambda x: x.T.as_strided((2, 2), (1, 2))}
    text = refusal(functions, [torch.ones(2, 3)], tmp_path)
    assert text.endswith("a view of a tensor whose elements are not in order")
