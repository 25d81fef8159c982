"""Fourier transforms and complex numbers inside programs of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import Drawn, assert_like_pytorch, refusal, torch

Functions = Mapping[str, Callable[..., Any]]


def _window() -> Any:
    return torch.hann_window(16)


def _spectrum(x: Any, **options: Any) -> Any:
    return torch.stft(x, 16, 8, window=_window().to(x.dtype), return_complex=True, **options)


def _into_zeros(spectrum: Any) -> Any:
    """As a Fourier neural operator keeps the lowest frequencies."""
    kept = torch.zeros_like(spectrum)
    kept[:, :2, :5] = spectrum[:, :2, :5] * (1 + 2j)
    return kept


TRANSFORMS: Functions = {
    "real": lambda x, y: torch.view_as_real(torch.fft.rfft(x)),
    "whole": lambda x, y: torch.view_as_real(torch.fft.fft(x, dim=1)),
    "cut and filled": lambda x, y: [torch.fft.rfft(x, n=9).real, torch.fft.rfft(x, n=31).imag],
    "normalized": lambda x, y: [
        torch.fft.rfft(x, norm=norm).abs() for norm in ("ortho", "forward", "backward")
    ],
    "several axes": lambda x, y: [
        torch.fft.fft2(x).real,
        torch.fft.rfftn(x, dim=(0, 2)).imag,
        torch.fft.fftn(torch.fft.fft(x, dim=-1), dim=1).real,
    ],
    "inverse": lambda x, y: [
        torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1]),
        torch.fft.irfft(torch.fft.rfft(x), n=13),
        torch.fft.ifft(torch.fft.fft(x)).real,
        torch.fft.irfft2(torch.fft.rfft2(x), norm="ortho"),
    ],
}
COMPLEX: Functions = {
    "sizes": lambda x, y: [torch.complex(x, y).abs(), torch.complex(x, y).angle()],
    "sums": lambda x, y: torch.view_as_real(torch.complex(x, y) + torch.complex(y, x) - x),
    "products": lambda x, y: torch.view_as_real(
        torch.complex(x, y) * torch.complex(y, y) * x * 2.0 / 3.0 / (y * y + 1)
    ),
    "conjugates": lambda x, y: torch.view_as_real(
        (-torch.complex(x, y)).conj() * torch.complex(y, x)
    ),
    "quotients": lambda x, y: [
        torch.view_as_real(torch.complex(x, y) / torch.complex(y, x + 2)),
        torch.view_as_real(1 / (torch.complex(x, y) * 1e15 + 1e15)),
        torch.view_as_real(torch.complex(x, y).reciprocal()),
    ],
    "exponentials": lambda x, y: torch.view_as_real(torch.complex(x, y * 3).exp()),
    "matrices": lambda x, y: [
        torch.view_as_real(torch.complex(x, y) @ torch.complex(y, x).mT),
        torch.view_as_real(torch.complex(x[0], y[0]) @ torch.complex(y, x)[1].T),
    ],
    "selected": lambda x, y: torch.view_as_real(
        torch.where(x > 0, torch.complex(x, y), torch.complex(y, x))
    ),
    "written": lambda x, y: torch.view_as_real(_into_zeros(torch.complex(x, y))),
    "polar": lambda x, y: torch.view_as_real(torch.polar(x.abs(), y)),
    "rotations": lambda x, y: torch.view_as_real(
        torch.view_as_complex(x[..., :16].reshape(3, 4, 8, 2))
        * torch.polar(torch.ones(8).to(x), y[0, 0, :8])
    ).flatten(2),
    "moved": lambda x, y: [
        torch.view_as_real(torch.complex(x, y).transpose(0, 1)[1:, :, ::2].reshape(-1, 3).clone()),
        torch.view_as_real(torch.cat([torch.complex(x, y), torch.complex(y, x)], 1).sum(1)),
        torch.complex(x, y).unsqueeze(0).expand(2, -1, -1, -1).real,
        torch.view_as_real(torch.stack(torch.complex(x, y).split(2, 1))),
    ],
}
SHORT_TIME: Functions = {
    "sizes": lambda x: _spectrum(x).abs(),
    "parts": lambda x: torch.view_as_real(_spectrum(x, center=False)),
    "whole": lambda x: _spectrum(x, onesided=False, normalized=True).real,
    "there and back": lambda x: torch.istft(
        _spectrum(x), 16, 8, window=_window().to(x.dtype), length=x.shape[-1]
    ),
    "powers in decibels": lambda x: 10 * torch.log10(_spectrum(x).abs().pow(2) + 1e-3),
}


@pytest.mark.parametrize("functions", [TRANSFORMS, COMPLEX], ids=["transforms", "complex"])
def test_complex_numbers_inside(functions: Functions, tmp_path: Path) -> None:
    drawn = Drawn("complex")
    inputs = drawn.floats(3, 4, 18), drawn.floats(3, 4, 18)
    assert_like_pytorch(functions, inputs, tmp_path)


def test_short_time_transforms(tmp_path: Path) -> None:
    assert_like_pytorch(SHORT_TIME, (Drawn("short").floats(2, 100),), tmp_path)


class _Rotated(torch.nn.Module):
    """Rotary positions as the first Llama has them, and other complex weights."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.outer(torch.arange(4.0), 1 / 100 ** (torch.arange(0, 8, 2) / 8))
        turns = torch.polar(torch.ones_like(angles), angles)
        self.register_buffer("turns", turns)
        # A file of a conjugate view has the tensor itself: PyTorch drops the view.
        self.register_buffer("unkept", turns.conj().resolve_conj(), persistent=False)
        self.factor = torch.nn.Parameter(torch.tensor([1 + 2j, 0.5 - 1j, -1j, 2.0]))
        self.constant = turns * 0.5j

    def forward(self, x: Any) -> Any:
        pairs = torch.view_as_complex(x.reshape(2, 4, 4, 2))
        turned = pairs * self.turns[None] + self.unkept * self.factor + self.constant
        return [torch.view_as_real(turned).flatten(2), self.turns.abs() * x[0, :, :4]]


def test_complex_weights(tmp_path: Path) -> None:
    assert_like_pytorch(_Rotated(), (Drawn("rotated").floats(2, 4, 8),), tmp_path)


def test_in_double_precision(tmp_path: Path) -> None:
    inputs = (Drawn("double").floats(3, 4, 18, dtype=torch.float64),) * 2
    assert_like_pytorch(TRANSFORMS | COMPLEX, inputs, tmp_path)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: torch.fft.rfft(x), "complex numbers; expected inputs and outputs of real ones"),
        (lambda x: torch.fft.rfft(x).tan().abs(), "it takes complex numbers"),
    ],
)
def test_other_forms_are_refused_by_name(
    function: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    assert said in refusal({"f": function}, (torch.ones(2, 8),), tmp_path)
