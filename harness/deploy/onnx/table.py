"""How each operator of a canonical network is written in ONNX: one row an operator."""

from __future__ import annotations

from collections.abc import Mapping

from harness.deploy.onnx.arithmetic import ARITHMETIC
from harness.deploy.onnx.layers import LAYERS
from harness.deploy.onnx.movement import MOVEMENT
from harness.deploy.onnx.writer import Rule

OPERATORS: Mapping[str, Rule] = {
    f"relax.{name}": rule for name, rule in {**ARITHMETIC, **LAYERS, **MOVEMENT}.items()
}
