"""Normalisations and activations of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import ODD, VARIANTS, Drawn, assert_like_pytorch, thinned, torch

Functions = Mapping[str, Callable[..., Any]]
F = torch.nn.functional

NORMALISED: Functions = {
    "layer": lambda x, w, b: [
        F.layer_norm(x, (4, 6), w[:24].reshape(4, 6), b[:24].reshape(4, 6)),
        F.layer_norm(x, (6,), w[:6], b[:6], 1e-3),
        F.layer_norm(x, (6,)),
        F.layer_norm(x, (6,), w[:6]),
    ],
    "group": lambda x, w, b: [
        F.group_norm(x, 4, w[:8], b[:8]),
        F.group_norm(x, 1),
        F.group_norm(x, 8, w[:8], b[:8], 1e-3),
        F.group_norm(x[..., 0], 2, w[:8], b[:8]),
        F.group_norm(x[..., 0, 0], 2, w[:8], b[:8]),
    ],
    "instance": lambda x, w, b: [
        F.instance_norm(x),
        F.instance_norm(x, weight=w[:8], bias=b[:8]),
        F.instance_norm(x[..., 0], weight=w[:8], bias=b[:8]),
    ],
    "batch": lambda x, w, b: [
        F.batch_norm(x, b[:8], w[:8].abs() + 0.1, w[:8], b[:8]),
        F.batch_norm(x[..., 0], b[:8], w[:8].abs() + 0.1),
        F.batch_norm(x[..., 0, 0], b[:8], w[:8].abs() + 0.1, w[:8]),
    ],
    "root mean square": lambda x, w, b: F.rms_norm(x, (6,), w[:6], 1e-5),
    "local response": lambda x, w, b: F.local_response_norm(x, 3),
    "length": lambda x, w, b: F.normalize(x, dim=1),
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_normalisations(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    drawn = Drawn(f"normalised {dtype}")
    given = [drawn.floats(*shape, dtype=dtype) for shape in [(2, 8, 4, 6), (24,), (24,)]]
    assert_like_pytorch(thinned(NORMALISED, step), given, tmp_path, levels=[level])


ACTIVATIONS: Functions = {
    "elu": lambda x: [F.elu(x), F.elu(x, 0.5), F.selu(x), F.celu(x, 0.7)],
    "hardtanh": lambda x: [F.hardtanh(x), F.hardtanh(x, -0.3, 0.6), F.relu6(x)],
    "relu": lambda x: [F.relu(x), F.leaky_relu(x, 0.2), F.threshold(x, 0.1, -3)],
    "prelu": lambda x: F.prelu(x[None], torch.tensor([0.2], dtype=x.dtype)),
    "gelu": lambda x: [F.gelu(x), F.gelu(x, approximate="tanh")],
    "hard": lambda x: [F.hardswish(x), F.hardsigmoid(x), F.hardshrink(x)],
    "soft": lambda x: [F.softplus(x), F.softplus(x, 2, 1), F.softsign(x), F.softshrink(x)],
    "silu": lambda x: [F.silu(x), F.mish(x), F.tanhshrink(x), F.logsigmoid(x)],
    "gated": lambda x: F.glu(x.reshape(-1, 2), -1),
    "sigmoid": lambda x: [torch.sigmoid(x), torch.tanh(x)],
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_activations(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    x = Drawn(f"activations {dtype}").floats(6, 4, dtype=dtype) * 4
    assert_like_pytorch(thinned(ACTIVATIONS, step), [x], tmp_path, levels=[level])


@pytest.mark.slow
def test_activations_of_special_numbers(tmp_path: Path) -> None:
    left = {"gated", "prelu", "gelu"}  # of infinity, PyTorch's gelu gives NaN
    functions = {name: function for name, function in ACTIVATIONS.items() if name not in left}
    assert_like_pytorch(functions, [torch.tensor(ODD)], tmp_path)
