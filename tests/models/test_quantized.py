"""Integers that stand for real numbers are told from indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from small_models import FLOAT, INT64, onnx_model, save, save_int8_tflite, save_tflite

from harness.models.quantized import quantized_outputs


def test_outputs_of_quantizing_operators_are_steps(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("Reshape", ["q", "flat"], ["steps"]),
            helper.make_node("ArgMax", ["x"], ["place"], axis=1),
        ],
        [("x", FLOAT, [2, 3])],
        [("steps", TensorProto.INT8, [6]), ("place", INT64, [2, 1])],
        {"scale": np.float32(0.1), "zero": np.int8(0), "flat": np.array([6])},
    )
    assert quantized_outputs(save(model, tmp_path / "m.onnx")) == {"steps"}


def test_quantized_tflite_outputs_are_steps(tmp_path: Path) -> None:
    save_int8_tflite(tmp_path / "q.tflite")
    save_tflite(tmp_path / "f.tflite")
    assert quantized_outputs(tmp_path / "q.tflite") == {"y"}
    assert quantized_outputs(tmp_path / "f.tflite") == frozenset()
