"""Models of quantized ONNX operators with random integers, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from compiling import reference
from onnx import helper
from onnx_nodes import Node, computed, network

from harness.specs.sweep import FusionLevel

random = np.random.default_rng(7)
LEVELS: tuple[FusionLevel, ...] = ("none", "full")
RANGES = {
    name: (np.iinfo(name).min, np.iinfo(name).max + 1)
    for name in ("int8", "uint8", "int16", "uint16", "int32")
}


def whole(dtype: str, *shape: int) -> np.ndarray:
    low, high = RANGES[dtype]
    return np.asarray(random.integers(low, high, shape), dtype)


def real(*shape: int, spread: float = 1.0) -> np.ndarray:
    return np.asarray(spread * random.standard_normal(shape), np.float32)


def scales(*shape: int, about: float = 0.05) -> np.ndarray:
    return np.asarray(about * random.uniform(0.5, 2.0, shape), np.float32)


def node(operator: str, inputs: str, to: str = "y", **attributes: Any) -> Node:
    """A node; `-` stands for an input that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, to.split(), **attributes)


@dataclass(frozen=True)
class Case:
    """One node with outputs as `name:dtype`, the arrays fed, and the constants."""

    nodes: Sequence[Node]
    outputs: Sequence[str]
    feeds: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    opset: int = 21


def levels_of(name: str, cases: Mapping[str, Case]) -> Sequence[FusionLevel]:
    """Every third case is also compiled unfused: the operators' kernels are the same ones."""
    return LEVELS if list(cases).index(name) % 3 == 0 else LEVELS[-1:]


def assert_equal(
    case: Case, folder: Path, levels: Sequence[FusionLevel] = LEVELS, here: bool = False
) -> None:
    """Fails where a value of a model, fused or not, is not the one that ONNX Runtime gives."""
    model = network(case.nodes, case.outputs, case.feeds, case.weights, case.opset)
    right = reference(model, case.feeds)
    for level in levels:
        for one, other in zip(computed(model, case.feeds, folder, level, here), right, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
