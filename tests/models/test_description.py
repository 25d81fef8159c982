from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from small_models import FLOAT, onnx_model, save
from tflite_graphs import Case, Input, Output
from tflite_graphs import save as save_tflite

from harness.errors import InputError
from harness.models.description import described

UINT8 = 2


def quantized(*operators: str) -> object:
    weights = {"scale": np.asarray(0.5, np.float32), "zero": np.asarray(3, np.uint8)}
    nodes = []
    if "QuantizeLinear" in operators:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ]
    elif "DynamicQuantizeLinear" in operators:
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
    return onnx_model(nodes, [("x", FLOAT, ["n", 4])], ["y"], weights)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [("QuantizeLinear", "static (QDQ)"), ("DynamicQuantizeLinear", "dynamic")],
)
def test_onnx_file_says_how_it_is_quantized(tmp_path: Path, operator: str, kind: str) -> None:
    found = described(save(quantized(operator), tmp_path / "model.onnx"))
    assert found.quantization == kind
    assert found.nodes == 2
    assert found.inputs == {"x": "float32[n, 4]"}


def test_tflite_file_names_its_state(tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    pytest.importorskip("ai_edge_litert")
    case = Case("ADD", (Input((2, 3)), Input((2, 3))), [Output()], "AddOptions")
    found = described(save_tflite([case], tmp_path / "model.tflite"))
    assert found.version == "schema 3"
    assert found.nodes == 1
    assert (found.quantization, found.state) == ("", ())
    assert len(found.inputs) == 2


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 40)
    with pytest.raises(InputError, match="damaged"):
        described(path)
