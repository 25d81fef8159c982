"""Small networks of the operators between layers, and what their layers see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from small_models import FLOAT, feeds, onnx_model, save, weights

from harness.compiler.api import tvm
from harness.models.frontends import import_model
from harness.networks.calibration import Calibration
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def convolutions() -> onnx.ModelProto:
    """Strided, dilated, grouped and unevenly padded, with a bounded activation and a residual."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[0, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["p", "low", "high"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"], group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
        helper.make_node("Conv", ["r", "c"], ["s"]),
        helper.make_node("Add", ["s", "q"], ["t"]),
        helper.make_node("GlobalAveragePool", ["t"], ["u"]),
        helper.make_node("Flatten", ["u"], ["v"]),
        helper.make_node("Gemm", ["v", "d"], ["y"]),
    ]
    constants = {
        "a": weights(8, 3, 3, 3),
        "b": weights(8, 1, 3, 3),
        "c": weights(8, 8, 1, 1),
        "d": weights(8, 5),
        "low": np.float32(-0.7),
        "high": np.float32(0.7),
    }
    return onnx_model(nodes, [("x", FLOAT, [1, 3, 9, 8])], ["y"], constants)


def products() -> onnx.ModelProto:
    """With a normalisation and the error function between them, as transformers have."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("LayerNormalization", ["p", "scale", "shift"], ["q"], epsilon=1e-3),
        helper.make_node("Erf", ["q"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    constants = {
        "a": weights(6, 8), "scale": weights(8), "shift": weights(8), "b": weights(8, 4),
    }  # fmt: skip
    return onnx_model(nodes, [("x", FLOAT, [1, 3, 6])], ["y"], constants)


def one_dimension() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1, 0], strides=[2]),
        helper.make_node("Sigmoid", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["y"], dilations=[2]),
    ]
    constants = {"a": weights(4, 2, 3), "b": weights(4, 4, 2)}
    return onnx_model(nodes, [("x", FLOAT, [1, 2, 14])], ["y"], constants)


def calibrated(model: onnx.ModelProto, folder: Path) -> Calibration:
    """A network as it sees one random sample."""
    imported = import_model(save(model, folder / "net.onnx"), {}, folder)
    module = canonicalise(imported.module)
    values = feeds(imported.inputs)
    sample = [values[spec.name] for spec in imported.inputs]
    return Calibration(module, layers_of(module), [sample], TARGET, 2)
