"""What ONNX Runtime's optimizer makes of several operators gives what ONNX Runtime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import reference
from onnx import TensorProto, helper
from onnx_nodes import assert_same, computed, network

from harness.errors import InputError

OWN = "com.microsoft"
WIDTH = 32


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(0, 0.4, shape).astype(np.float32)


def whole(high: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(0, high, shape).astype(np.uint8)


Case = tuple[str, list[str], list[str], dict[str, Any]]
"""An operator, its inputs and outputs, and its attributes."""
CASES: dict[str, Case] = {
    "convolution": ("FusedConv", ["image", "filters", "f"], ["y"], {"pads": [1, 1, 1, 1]}),
    **{
        f"convolution and {name}": (
            "FusedConv",
            ["image", "filters"],
            ["y"],
            {"activation": name, **({"activation_params": given} if given else {})},
        )
        for name, given in {
            "Relu": [], "Tanh": [], "Sigmoid": [], "LeakyRelu": [0.3],
            "Clip": [-0.1, 0.2], "HardSigmoid": [0.3, 0.4],
        }.items()
    },
    "convolution and sum": (
        "FusedConv", ["image", "filters", "f", "other"], ["y"],
        {"activation": "Relu", "pads": [1, 1, 1, 1]},
    ),
    "product and activation": (
        "FusedGemm", ["row", "turned", "seven"], ["y"],
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1, "alpha": 0.5,
         "beta": 2.0},
    ),
    "product of turned factors": (
        "FusedMatMul", ["left", "right"], ["y"], {"transA": 1, "transB": 1, "alpha": 0.5}
    ),
    "product of a batch behind": ("FusedMatMul", ["behind", "columns"], ["y"], {"transBatchA": 1}),
    "gelu of a logistic": ("QuickGelu", ["x"], ["y"], {"alpha": 1.5}),
    "normal sum": ("SkipLayerNormalization", ["x", "skip", "g", "h"], ["y"], {"epsilon": 1e-3}),
    "normal sum of three": ("SkipLayerNormalization", ["x", "skip", "g", "h", "b"], ["y"], {}),
    "normal sum without offset": ("SkipLayerNormalization", ["x", "skip", "g"], ["y"], {}),
    "normal sum of rows": ("SkipLayerNormalization", ["x", "one", "g", "h"], ["y"], {}),
    "normal sum, and it": (
        "SkipLayerNormalization", ["x", "skip", "g", "h"], ["y", "", "", "sum"], {}
    ),
    "sum by its size, and it": (
        "SkipSimplifiedLayerNormalization", ["x", "skip", "g", "b"], ["y", "", "", "sum"], {}
    ),
    "four bits": (
        "MatMulNBits", ["x", "nibbles", "s"], ["y"], {"K": 32, "N": 8, "bits": 4, "block_size": 16}
    ),
    "four bits from zero points": (
        "MatMulNBits", ["x", "nibbles", "s", "zeros"], ["y"],
        {"K": 32, "N": 8, "bits": 4, "block_size": 16},
    ),
    "four bits from floats, ragged, biased": (
        "MatMulNBits", ["short", "nibbles", "s", "floats", "", "eight"], ["y"],
        {"K": 24, "N": 8, "bits": 4, "block_size": 16},
    ),
    "eight bits": (
        "MatMulNBits", ["x", "bytes", "s"], ["y"], {"K": 32, "N": 8, "bits": 8, "block_size": 16}
    ),
}  # fmt: skip
FEEDS = {
    "x": drawn(2, 6, WIDTH),
    "skip": drawn(2, 6, WIDTH, seed=1),
    "one": drawn(1, 6, WIDTH),
    "short": drawn(2, 6, 24),
    "image": drawn(1, 3, 6, 6),
    "other": drawn(1, 4, 6, 6),
    "row": drawn(6, WIDTH),
    "left": drawn(2, 6, WIDTH),
    "right": drawn(2, 7, 6),
    "behind": drawn(6, 2, WIDTH),
    "columns": drawn(2, WIDTH, 7),
}
WEIGHTS = {
    "g": drawn(WIDTH),
    "h": drawn(WIDTH, seed=1),
    "b": drawn(WIDTH, seed=2),
    "filters": drawn(4, 3, 3, 3),
    "f": drawn(4),
    "turned": drawn(7, WIDTH),
    "seven": drawn(7),
    "eight": drawn(8),
    "nibbles": whole(256, 8, 2, 8),
    "bytes": whole(256, 8, 2, 16),
    "s": np.abs(drawn(16)),
    "zeros": whole(256, 8),
    "floats": 9 * drawn(16),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_gives_what_onnxruntime_does(tmp_path: Path, name: str) -> None:
    operator, names, outputs, attributes = CASES[name]
    step = helper.make_node(operator, names, outputs, domain=OWN, **attributes)
    feeds = {each: value for each, value in FEEDS.items() if each in names}
    weights = {each: value for each, value in WEIGHTS.items() if each in names}
    model = network([step], [each for each in outputs if each], feeds, weights)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


@pytest.mark.parametrize(
    ("operator", "opset", "names"),
    [
        ("SimplifiedLayerNormalization", 17, ["x", "g"]),
        ("LayerNormalization", 13, ["x", "g", "h"]),
    ],
)
def test_runtime_operators_in_onnxs_domain(
    tmp_path: Path, operator: str, opset: int, names: list[str]
) -> None:
    """ONNX's checker does not know them there."""
    feeds = {"x": FEEDS["x"]}
    step = helper.make_node(operator, names, ["y"], epsilon=1e-3)
    weights = {each: WEIGHTS[each] for each in names[1:]}
    shape = FEEDS["x"].shape
    model = network([step], [("y", TensorProto.FLOAT, shape)], feeds, weights, opset)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_weights_that_are_not_known_are_refused(tmp_path: Path) -> None:
    names = ["x", "nibbles", "s"]
    step = helper.make_node(
        "MatMulNBits", names, ["y"], domain=OWN, K=32, N=8, bits=4, block_size=16
    )
    feeds = {"x": FEEDS["x"], "nibbles": WEIGHTS["nibbles"]}
    model = network([step], ["y"], feeds, {"s": WEIGHTS["s"]})
    with pytest.raises(InputError, match="its weights depend on the inputs' values"):
        computed(model, feeds, tmp_path)
