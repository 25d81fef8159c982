"""Operators of PyTorch that take or put elements at places that tensors give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import INFINITY, NAN, Drawn, assert_like_pytorch, refusal, thinned, torch

Functions = Mapping[str, Callable[..., Any]]

TAKEN: Functions = {
    "one axis": lambda x, i, j, k: [x[i], x[:, j], x[:, :, k], x[..., k]],
    "two axes": lambda x, i, j, k: [x[i, j], x[:, j, i], x[i[:, None], j]],
    "apart": lambda x, i, j, k: [x[i, :, j], x[k[0], :, j[:3]]],
    "three axes": lambda x, i, j, k: x[i, j, i],
    "many places": lambda x, i, j, k: [x[k], x[:, k], x[k, 1:3, k]],
    "a place": lambda x, i, j, k: [x[i[:1]], x[:, j[1:2]], x[i[:1], j[1:2], 2]],
    "with slices": lambda x, i, j, k: [x[1:, j, ::2], x[None, i, 1]],
    "of type int32": lambda x, i, j, k: x[i.int()],
    "constants": lambda x, i, j, k: [x[[0, 2, -1]], x[:, [1, -2]], x[[0, 1], :, [2, -1]]],
    "index_select": lambda x, i, j, k: [
        x.index_select(0, i % 3),
        x.index_select(-1, j.abs()),
        x[0, 0, 0].index_select(0, i[:1] * 0),
    ],
    "take": lambda x, i, j, k: [torch.take(x, k * 7), x.take_along_dim(k[:, :, None] % 4, 1)],
    "embedding": lambda x, i, j, k: [
        torch.nn.functional.embedding(k % 3, x[:, :, 0]),
        torch.nn.functional.embedding(i.abs(), x[0], padding_idx=1),
    ],
    "gather": lambda x, i, j, k: [
        x.gather(1, k[None, :2].abs().expand(2, 2, 3)),
        x.gather(-1, k.abs()[:2, None].expand(2, 4, 3)),
        x.gather(0, (k.abs() % 3)[None]),
        x[0, 0, 0].gather(0, (i * 0).sum()),
    ],
}
PUT: Functions = {
    "index_put": lambda x, i, j, k, v: [
        x.index_put((i,), v[0, 0, 0]),
        x.index_put((i, j), v[0, 0, 0]),
    ],
    "accumulated": lambda x, i, j, k, v: [
        x.index_put((i,), v[:1, :4, :5], accumulate=True),
        x.index_put((i, j), v[0, 0, :5], accumulate=True),
        x.index_put((k % 3,), v[0, 0, :5], accumulate=True),
    ],
    "by mask": lambda x, i, j, k, v: [
        x.index_put((x > 0,), v[0, 0, 0]),
        x.index_put((x[:, 0, 0] > 0,), v[0, 0, 0], accumulate=True),
    ],
    "scatter": lambda x, i, j, k, v: [
        x.scatter(1, OWN[None, :, None].expand(3, 4, 5), v[:3, :4, :5]),
        x.scatter(-1, OWN[None, None].expand(2, 3, 4), v[:3, :4, :5]),
        x.scatter(0, k.abs()[:, :2, None] * 0, 2),
        x.scatter(1, OWN[None, :, None], 7),
    ],
    "scatter reduced": lambda x, i, j, k, v: [
        x.scatter(1, k.abs()[:, :, None], v[:3, :4, :5], reduce="add"),
        x.scatter(1, k.abs()[:, :, None], v[:3, :4, :5], reduce="multiply"),
        x.scatter(1, k.abs()[:, :, None], 2, reduce="add"),
        x.scatter(1, OWN[None, :, None], 2, reduce="multiply"),
    ],
    "scatter_reduce without itself": lambda x, i, j, k, v: [
        x.scatter_reduce(1, k.abs()[:, :, None], v[:3, :4, :5], how, include_self=own)
        for how in ("sum", "prod", "mean", "amax", "amin")
        for own in (False, True)
    ],
    "scatter_add": lambda x, i, j, k, v: [
        x.scatter_add(0, k.abs()[:, :, None].expand(3, 3, 5), v[:3, :3, :5]),
        x.scatter_add(-1, k.abs()[:, :, None].expand(3, 3, 2), v[:3, :4, :5]),
    ],
    "scatter_reduce": lambda x, i, j, k, v: [
        x.scatter_reduce(1, k.abs()[:, :, None].expand(3, 3, 5), v[:3, :3, :5], how)
        for how in ("sum", "prod", "amax", "amin")
    ],
    "index_add": lambda x, i, j, k, v: [
        x.index_add(0, i % 3, v[:5, :4, :5]),
        x.index_add(1, j.abs(), v[:3, :5, :5], alpha=2),
        x.index_copy(1, OWN, v[:3, :4, :5]),
        x.index_fill(1, j.abs(), -1.0),
    ],
    "assigned": lambda x, i, j, k, v: [assigned(x), assigned_at(x, j, v), select_scattered(x, v)],
    "masked_scatter": lambda x, i, j, k, v: [
        x.masked_scatter(x > 0, v[:3, :4, :5]),
        x.masked_scatter(x[:, :1] > 0, v),
    ],
    "masked_fill": lambda x, i, j, k, v: x.masked_fill(x[0] > 0, v[0, 0, 0]),
}
OWN = torch.tensor([2, 0, 3, 1])
"""Places of which none is twice: PyTorch does not say which of several elements stays."""


def assigned(x: Any) -> Any:
    y = x.clone()
    y[:, 1:3] = 0
    y[0, ..., -1] = 5
    y[y > 1] = 1
    return y


def assigned_at(x: Any, j: Any, v: Any) -> Any:
    y = x.clone()
    y[:, OWN, 0] = v[:3, :4, 0]
    y[:, j, 1] += 1
    return y


def select_scattered(x: Any, v: Any) -> Any:
    return [x.select_scatter(v[:4, :5, 0], 0, 1), x.slice_scatter(v[:3, :2, :5], 1, 1, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_elements_taken(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"taken {dtype}")
    x = (drawn.floats(3, 4, 5) * 9).to(dtype)
    given = [x, drawn.whole(-3, 3, 6), drawn.whole(-3, 3, 6), drawn.whole(-3, 3, 3, 3)]
    functions = TAKEN if dtype == torch.float32 else thinned(TAKEN, 6)
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_elements_put(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"put {dtype}")
    x, v = (drawn.floats(3, 4, 5) * 9).to(dtype), (drawn.floats(6, 6, 6) * 9).to(dtype)
    given = [x, drawn.whole(-3, 3, 5), drawn.whole(-3, 3, 5), drawn.whole(-2, 3, 3, 3), v]
    functions = PUT if dtype == torch.float32 else thinned(PUT, 6)
    level = "none" if dtype == torch.float64 else "full"
    assert_like_pytorch(functions, given, tmp_path, levels=[level])


@pytest.mark.slow
def test_truth_values_taken_and_put(tmp_path: Path) -> None:
    drawn = Drawn("truths")
    functions: Functions = {
        "taken": lambda x, i: [x[i], x[:, i], x.gather(1, i[None, :, None].abs())],
        "put": lambda x, i: [x.index_put((i,), x[0, 0, 0]), x.scatter(1, OWN[None, :, None], True)],
        "filled": lambda x, i: [x.index_fill(1, i.abs(), True), x.masked_fill(x[0], False)],
    }
    given = [drawn.truths(3, 4, 5), drawn.whole(-3, 3, 4)]
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.slow
def test_bags_of_embeddings(tmp_path: Path) -> None:
    drawn = Drawn("bags")
    bag = torch.nn.functional.embedding_bag
    functions: Functions = {
        mode: lambda w, i, o, s, mode=mode: [
            bag(i, w, o, mode=mode),
            bag(i[:8].reshape(4, 2), w, mode=mode),
            bag(i, w, o, mode=mode, padding_idx=3),
            bag(i, w, o, mode=mode, include_last_offset=True),
        ]
        for mode in ("sum", "mean", "max")
    }
    functions |= {"weighted": lambda w, i, o, s: bag(i, w, o, mode="sum", per_sample_weights=s)}
    offsets = torch.tensor([0, 2, 2, 9])
    given = [drawn.floats(10, 6), drawn.whole(0, 10, 9), offsets, drawn.floats(9)]
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.slow
def test_places_in_sorted_sequences(tmp_path: Path) -> None:
    drawn = Drawn("sorted")
    functions: Functions = {
        "searchsorted": lambda s, r, x, i: [
            torch.searchsorted(s, x),
            torch.searchsorted(s, x, right=True),
            torch.searchsorted(s, x, side="right", out_int32=True),
            torch.searchsorted(r, x[:3]),
            torch.searchsorted(s, i.float()),
        ],
        "bucketize": lambda s, r, x, i: [
            torch.bucketize(x, s),
            torch.bucketize(x, s, right=True, out_int32=True),
            torch.bucketize(i, s.round().long()),
        ],
        "digits": lambda s, r, x, i: torch.searchsorted(s, 0.3),
    }
    sequence = drawn.floats(7).sort().values
    sequence[3] = sequence[2]
    x = torch.cat([drawn.floats(3, 4), sequence[:4][None]])
    x[1] = torch.tensor([NAN, INFINITY, -INFINITY, 0.0])
    rows = drawn.floats(3, 5).sort().values
    given = [sequence, rows, x, drawn.whole(-2, 3, 6)]
    assert_like_pytorch(functions, given, tmp_path)


def test_a_mask_that_takes_elements_is_refused(tmp_path: Path) -> None:
    text = refusal({"mask": lambda x, m: x.index_put((m,), x[0])}, MASKED, tmp_path)
    assert text.endswith("how many values go where a mask is true depends on its values")


def test_reductions_of_integers_with_and_without_the_first_values(tmp_path: Path) -> None:
    functions: Functions = {
        how: lambda x, i, v, how=how: [
            x.scatter_reduce(0, i, v, how, include_self=own) for own in (False, True)
        ]
        for how in ("sum", "prod", "mean", "amax", "amin")
    }
    drawn = Drawn("integers")
    given = [drawn.whole(-9, 9, 5), torch.tensor([0, 2, 2, 4, 2]), drawn.whole(-9, 9, 5)]
    assert_like_pytorch(functions, given, tmp_path)


MASKED = [torch.arange(4.0).reshape(2, 2), torch.tensor([True, False])]
