"""Fourier transforms of ONNX, compared with NumPy's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_nodes import computed, network


def parts(values: np.ndarray, dtype: str = "float32") -> np.ndarray:
    return np.stack([values.real, values.imag], axis=-1).astype(dtype)


def assert_close(found: np.ndarray, right: np.ndarray) -> None:
    """Equal within rounding of the largest value: each is a sum of all inputs."""
    assert (found.shape, found.dtype) == (right.shape, right.dtype)
    eps = float(np.finfo(right.dtype).eps)
    np.testing.assert_allclose(found, right, rtol=0, atol=4 * eps * float(np.abs(right).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("inverse", "onesided"), [(0, 0), (1, 0), (0, 1)])
def test_dft(
    tmp_path: Path, dtype: str, opset: int, axis: int, inverse: int, onesided: int
) -> None:
    random = np.random.default_rng(7)
    x = random.standard_normal((2, 10, 6, 1 if onesided else 2)).astype(dtype)
    numbers = x[..., 0].astype(np.float64) + (0 if onesided else 1j * x[..., 1].astype(np.float64))
    transform = np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft
    given = {"axis": axis} if opset < 20 else {}
    constants = {"axis": np.array(axis, np.int64)} if opset >= 20 else None
    inputs = ["x", "", "axis"] if opset >= 20 else ["x"]
    made = helper.make_node("DFT", inputs, ["y"], inverse=inverse, onesided=onesided, **given)
    kind = {"float32": "float", "float64": "double"}[dtype]
    model = network([made], [f"y:{kind}"], {"x": x}, constants, opset=opset)
    (found,) = computed(model, {"x": x}, tmp_path)
    assert_close(found, parts(transform(numbers, axis=axis), dtype))


@pytest.mark.parametrize("windowed", [False, True])
def test_stft(tmp_path: Path, windowed: bool) -> None:
    random = np.random.default_rng(7)
    x = random.standard_normal((2, 64, 1)).astype(np.float32)
    constants = {"step": np.array(8, np.int64), "size": np.array(16, np.int64)}
    window = np.hanning(16).astype(np.float32)
    if windowed:
        constants["window"] = window
    made = helper.make_node("STFT", ["x", "step", "window" if windowed else "", "size"], ["y"])
    model = network([made], [("y", 1, [2, 7, 9, 2])], {"x": x}, constants, opset=17)
    (found,) = computed(model, {"x": x}, tmp_path)
    frames = np.stack([x[:, at : at + 16, 0] for at in range(0, 49, 8)], axis=1)
    right = np.fft.rfft(frames * (window if windowed else 1), axis=-1)
    np.testing.assert_allclose(found, parts(right), rtol=0, atol=1e-5)
