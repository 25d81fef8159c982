"""Sparse initializers are what they are as dense ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_nodes import assert_same, computed, network
from small_models import save

from harness.errors import InputError
from harness.models.frontends import import_model

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(indices: list[int], shape: list[int], dims: tuple[int, ...] = (2, 3)) -> onnx.ModelProto:
    result = network(
        [helper.make_node("Add", ["x", "k"], ["y"])], [("y", TensorProto.FLOAT, [2, 3])], {"x": X}
    )
    values = helper.make_tensor("k", TensorProto.FLOAT, [2], [10.0, 20.0])
    places = helper.make_tensor("places", TensorProto.INT64, shape, indices)
    result.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, dims))
    return result


@pytest.mark.parametrize(("indices", "shape"), [([1, 5], [2]), ([0, 1, 1, 2], [2, 2])])
def test_sparse_initializers_are_added(
    indices: list[int], shape: list[int], tmp_path: Path
) -> None:
    found = computed(model(indices, shape), {"x": X}, tmp_path)
    assert_same(found, [X + np.array([[0, 10, 0], [0, 0, 20]], np.float32)])


def test_sparse_constants_are_added(tmp_path: Path) -> None:
    sparse = model([1, 5], [2]).graph.sparse_initializer[0]
    found = network(
        [
            helper.make_node("Constant", [], ["k"], sparse_value=sparse),
            helper.make_node("Add", ["x", "k"], ["y"]),
        ],
        [("y", TensorProto.FLOAT, [2, 3])],
        {"x": X},
    )
    right = X + np.array([[0, 10, 0], [0, 0, 20]], np.float32)
    assert_same(computed(found, {"x": X}, tmp_path), [right])


def test_one_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = save(model([1, 5], [2], dims=(2, 3 << 40)), tmp_path / "huge.onnx")
    with pytest.raises(InputError, match=r"huge.onnx: .*'k'|huge.onnx"):
        import_model(path, {}, tmp_path)
