"""A static model that computes something else than its file is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import FLOAT, INT64, onnx_model, save

from harness.errors import InputError
from harness.models.onnx.faithful import require_faithful
from harness.models.tensors import TensorSpec

INPUT = TensorSpec("x", (16, 6), "float32")


def _written(folder: Path, name: str, outputs: list[Any], *nodes: onnx.NodeProto) -> Path:
    model = onnx_model(list(nodes), [("x", FLOAT, [16, 6])], outputs, {"two": np.array([2])})
    return save(model, folder / f"{name}.onnx")


def _leaky(folder: Path, slope: float) -> Path:
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=slope)
    return _written(folder, f"leaky{slope}", ["y"], node)


def _largest(folder: Path, ordered: int) -> Path:
    node = helper.make_node("TopK", ["x", "two"], ["y", "at"], axis=1, sorted=ordered)
    outputs = [("y", FLOAT, [16, 2]), ("at", INT64, [16, 2])]
    return _written(folder, f"largest{ordered}", outputs, node)


def test_another_attribute_is_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"leaky0.7.onnx: .* another output 'y' than the file"):
        require_faithful(_leaky(tmp_path, 0.7), _leaky(tmp_path, 0.01), [INPUT])


def test_equal_models_pass(tmp_path: Path) -> None:
    require_faithful(_leaky(tmp_path, 0.7), _leaky(tmp_path, 0.7), [INPUT])


def test_what_is_in_another_order_passes(tmp_path: Path) -> None:
    require_faithful(_largest(tmp_path, 0), _largest(tmp_path, 1), [INPUT])


def test_integers_that_differ_are_found(tmp_path: Path) -> None:
    greatest, least = (
        _written(
            tmp_path, name, [("y", INT64, [16, 1])], helper.make_node(name, ["x"], ["y"], axis=1)
        )
        for name in ("ArgMax", "ArgMin")
    )
    with pytest.raises(InputError, match="another output 'y'"):
        require_faithful(greatest, least, [INPUT])


def test_a_file_that_onnxruntime_does_not_run_is_not_compared(tmp_path: Path) -> None:
    unknown = onnx_model(
        [helper.make_node("Unknown", ["x"], ["y"], domain="own")],
        [("x", FLOAT, [16, 6])],
        [("y", FLOAT, [16, 6])],
        domains={"own": 1},
    )
    require_faithful(save(unknown, tmp_path / "own.onnx"), _leaky(tmp_path, 0.1), [INPUT])
