"""Operators on regions of images give what ONNX Runtime does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, drawn, network

from harness.errors import InputError


def aligned(opset: int, **attributes: Any) -> tuple[Any, dict[str, np.ndarray]]:
    node = helper.make_node(
        "RoiAlign", ["x", "regions", "batch"], ["y"], output_height=3, output_width=2, **attributes
    )
    corners = [[0, 0, 9, 9], [2.3, 4.1, 11.5, 8], [5, 5, 5.5, 5.2]]
    feeds = {
        "x": drawn(2, 3, 12, 12),
        "regions": np.asarray(corners, np.float32),
        "batch": np.asarray([1, 0, 1]),
    }
    return network([node], ["y"], feeds, opset=opset), feeds


@pytest.mark.parametrize(
    ("opset", "attributes"),
    [
        (10, {"spatial_scale": 0.5}),
        (16, {}),
        (16, {"spatial_scale": 0.5, "sampling_ratio": 2}),
        (16, {"spatial_scale": 0.7, "coordinate_transformation_mode": "output_half_pixel"}),
    ],
)
def test_regions_are_averaged(opset: int, attributes: dict[str, Any], tmp_path: Path) -> None:
    model, feeds = aligned(opset, **attributes)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_maximum_is_refused(tmp_path: Path) -> None:
    model, feeds = aligned(16, mode="max")
    with pytest.raises(InputError, match=r"RoiAlign .* mode=max"):
        computed(model, feeds, tmp_path)
