"""Matrix products and convolutions of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import VARIANTS, Drawn, assert_like_pytorch, thinned, torch

Functions = Mapping[str, Callable[..., Any]]
F = torch.nn.functional

PRODUCTS: Functions = {
    "mm": lambda x, y, v: [x[0] @ y, x @ y, torch.mm(x[0], y), x[:, None] @ y],
    "bmm": lambda x, y, v: [torch.bmm(x, x.mT), torch.matmul(x, x.mT[:1])],
    "vectors": lambda x, y, v: [x[0] @ v, v @ y, torch.dot(v, v), x @ v, torch.outer(v, v)],
    "addmm": lambda x, y, v: [
        torch.addmm(y[0], x[0], y),
        torch.addmm(y[0], x[0], y, beta=3, alpha=2),
        torch.addmm(y[0], x[0], y, beta=0),
    ],
    "addmv": lambda x, y, v: torch.addmv(x[0, :, 0], x[0], v, beta=2, alpha=3),
    "baddbmm": lambda x, y, v: torch.baddbmm(x[:, :, :3], x, x.mT, beta=2, alpha=3),
    "linear": lambda x, y, v: [F.linear(x, y.T), F.linear(x, y.T, y[0]), F.linear(v, y.T)],
    "einsum": lambda x, y, v: [
        torch.einsum("bij,jk->bik", x, y),
        torch.einsum("bij,bkj->bik", x, x),
        torch.einsum("bij->b", x),
        torch.einsum("bij,j->ib", x, v),
        torch.einsum("ij,kj->", x[0], x[1]),
    ],
    "kron": lambda x, y, v: [torch.kron(x[0], y), torch.tensordot(x, y, 1), torch.inner(v, v)],
    "similar": lambda x, y, v: F.cosine_similarity(x, x + 1, 1),
    "bilinear": lambda x, y, v: F.bilinear(x, x + 1, x[:1].mT @ x[1:], v[:1]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_products(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    drawn = Drawn(f"products {dtype}")
    shapes = [(2, 3, 5), (5, 4), (5,)]
    given = [drawn.floats(*shape, dtype=dtype) for shape in shapes]
    assert_like_pytorch(thinned(PRODUCTS, step), given, tmp_path, levels=[level])


@pytest.mark.slow
def test_products_of_integers(tmp_path: Path) -> None:
    drawn = Drawn("integers")
    functions = {name: PRODUCTS[name] for name in ("mm", "bmm", "vectors")}
    given = [drawn.whole(-9, 9, *shape) for shape in [(2, 3, 5), (5, 4), (5,)]]
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [[2, 2, 7, 9], [0, 4, 4, 6]])
def test_rows_are_multiplied_by_the_matrix_of_their_group(tmp_path: Path, ends: list[int]) -> None:
    """As mixtures of experts do; rows behind the last group are 0."""
    from harness.models.torch.foreign import grouped_mm

    drawn = Drawn(f"groups {ends}")
    given = [drawn.floats(9, 5), drawn.floats(4, 5, 6), torch.tensor(ends, dtype=torch.int32)]
    assert_like_pytorch({"grouped": grouped_mm}, given, tmp_path)


CONVOLUTIONS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: torch.nn.Conv1d(4, 6, 3), (2, 4, 9)),
    (lambda: torch.nn.Conv1d(4, 6, 3, 2, 1, 2, groups=2, bias=False), (2, 4, 9)),
    (lambda: torch.nn.Conv1d(4, 8, 4, padding="same", groups=4), (2, 4, 9)),
    (lambda: torch.nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2)), (2, 4, 8, 7)),
    (lambda: torch.nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (1, 4, 8, 7)),
    (lambda: torch.nn.Conv2d(4, 4, 3, padding=2, padding_mode="circular"), (1, 4, 8, 7)),
    (lambda: torch.nn.Conv2d(4, 4, 3, padding="same", dilation=2), (1, 4, 8, 7)),
    (lambda: torch.nn.Conv2d(4, 8, 3, groups=4, bias=False), (1, 4, 8, 7)),
    (lambda: torch.nn.Conv2d(4, 8, 3), (4, 8, 7)),
    (lambda: torch.nn.Conv3d(2, 4, (1, 3, 2), padding=(0, 1, 0)), (1, 2, 3, 6, 5)),
    (lambda: torch.nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), (2, 4, 6)),
    (lambda: torch.nn.ConvTranspose1d(4, 6, 3, groups=2, dilation=2, bias=False), (2, 4, 6)),
    (lambda: torch.nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), (1, 4, 5, 4)),
    (lambda: torch.nn.ConvTranspose2d(4, 6, (2, 3), (2, 3)), (1, 4, 5, 4)),
    (lambda: torch.nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4), (1, 4, 5, 4)),
    (lambda: torch.nn.ConvTranspose2d(4, 4, 3, dilation=2), (1, 4, 5, 4)),
    (lambda: torch.nn.ConvTranspose3d(2, 4, 2, 2), (1, 2, 3, 3, 2)),
    (lambda: torch.nn.ConvTranspose3d(2, 4, 3, (2, 1, 2), 1, (1, 0, 1)), (1, 2, 3, 3, 2)),
]


class Beside(torch.nn.Module):
    """Layers, each of an input of its own."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, *given: Any) -> list[Any]:
        return [layer(x) for layer, x in zip(self.layers, given, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "level"), [(0, "full"), (1, "full"), (2, "none")])
def test_convolutions(tmp_path: Path, first: int, level: str) -> None:
    torch.manual_seed(first)
    drawn = Drawn(f"convolutions {first}")
    chosen = CONVOLUTIONS[first::3]
    given = [drawn.floats(*shape) for _, shape in chosen]
    assert_like_pytorch(Beside([make() for make, _ in chosen]), given, tmp_path, levels=[level])


@pytest.mark.slow
def test_convolutions_in_double_precision_and_of_weights_that_are_inputs(tmp_path: Path) -> None:
    drawn = Drawn("double")
    functions: Functions = {
        "convolution": lambda x, w, b: F.conv2d(x, w, b, 2, 1),
        "transposed": lambda x, w, b: F.conv_transpose2d(x, w.transpose(0, 1), b, 2),
    }
    given = [
        drawn.floats(*shape, dtype=torch.float64) for shape in [(1, 4, 6, 5), (6, 4, 3, 3), (6,)]
    ]
    assert_like_pytorch(functions, given, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_16_bit_floats_are_rounded_once(tmp_path: Path, dtype: Any) -> None:
    """With the bias; in single precision the sums of these numbers are exact."""
    drawn = Drawn(f"once {dtype}")
    functions: Functions = {
        "linear": lambda x, y, b: F.linear(x[0, 0].to(dtype), y[0, 0].to(dtype), b.to(dtype)),
        "addmm": lambda x, y, b: torch.addmm(b.to(dtype), x[0, 0].to(dtype), y[0, 0].T.to(dtype)),
        "convolution": lambda x, y, b: F.conv2d(
            x.to(dtype), y[:, :, :3].to(dtype).transpose(0, 1), b[:1].to(dtype)
        ),
    }
    exact = {
        name: lambda x, y, b, of=function: of(x, y, b).float()
        for name, function in functions.items()
    }
    given = [
        drawn.whole(-99, 100, *shape, dtype=torch.float32) / 8
        for shape in [(1, 1, 16, 9), (1, 1, 7, 9), (7,)]
    ]
    assert_like_pytorch(exact, given, tmp_path, tolerance=0)
