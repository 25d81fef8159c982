"""Sequences of tensors, whose lengths a file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, network

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("at", [0, 1, -1, -2])
def test_element_is_counted_from_either_end(at: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("SequenceConstruct", ["x", "n"], ["s"]),
        helper.make_node("SequenceAt", ["s", "at"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    model = network(nodes, ["y"], {"x": X}, {"at": np.array(at)})
    assert_same(computed(model, {"x": X}, tmp_path), reference(model, {"x": X}))
