"""Operators on windows and places of an image, compared with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx_nodes import Node, assert_same, computed, network


def node(operator: str, inputs: str, to: str = "y", **attributes: Any) -> Node:
    return helper.make_node(operator, inputs.split(), to.split(), **attributes)


def right(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, feeds)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [2, 2]},
    "strided and padded": {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    "by columns": {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": 1},
    "dilated": {"kernel_shape": [2, 2], "dilations": [2, 2]},
    "rounded up": {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    "same, more at the end": {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "same, more at the start": {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"},
}


@pytest.mark.parametrize("form", POOLS)
def test_max_pool_gives_the_places_of_its_values(tmp_path: Path, form: str) -> None:
    x = np.round(random(2, 3, 5, 7) * 2)  # with equal values in a window
    model = network(
        [node("MaxPool", "x", "y places", **POOLS[form])], ["y", "places:int64"], {"x": x}
    )
    assert_same(computed(model, {"x": x}, tmp_path), right(model, {"x": x}))


POWER_POOLS: dict[str, dict[str, Any]] = {
    **{form: POOLS[form] for form in ("plain", "strided and padded", "dilated", "rounded up")},
    "rounded up beside padding": {
        "kernel_shape": [2, 3], "strides": [3, 3], "pads": [1, 0, 0, 1], "ceil_mode": 1, "p": 1
    },
    "rounded up and dilated": {
        "kernel_shape": [2, 3], "dilations": [2, 1], "strides": [2, 2], "ceil_mode": 1, "p": 3
    },
    "same, more at the start": POOLS["same, more at the start"],
}  # fmt: skip


@pytest.mark.parametrize("form", POWER_POOLS)
def test_power_pool_counts_nothing_outside(tmp_path: Path, form: str) -> None:
    x = random(1, 2, 9, 10)
    model = network([node("LpPool", "x", "y", **POWER_POOLS[form])], ["y"], {"x": x}, opset=18)
    assert_same(computed(model, {"x": x}, tmp_path), right(model, {"x": x}))


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool", "LpPool"])
def test_pool_with_automatic_padding(tmp_path: Path, pool: str, auto: str) -> None:
    """Of extents that strides do not divide, and of windows smaller than a stride."""
    lines, image = random(1, 2, 9), random(1, 2, 9, 10)
    nodes = [
        helper.make_node(pool, ["line"], ["a"], kernel_shape=[3], strides=[2], auto_pad=auto),
        helper.make_node(pool, ["image"], ["b"], kernel_shape=[2, 3], auto_pad=auto),
        helper.make_node(
            pool, ["image"], ["c"], kernel_shape=[1, 3], strides=[2, 2], auto_pad=auto
        ),
    ]
    if pool == "LpPool":  # ONNX Runtime's others refuse windows smaller than their strides
        nodes += [
            helper.make_node(pool, ["line"], ["d"], kernel_shape=[1], strides=[4], auto_pad=auto),
            helper.make_node(
                pool, ["image"], ["e"], kernel_shape=[1, 2], strides=[3, 5], auto_pad=auto
            ),
        ]
    feeds = {"line": lines, "image": image}
    model = network(nodes, [each.output[0] for each in nodes], feeds, opset=18)
    assert_same(computed(model, feeds, tmp_path), right(model, feeds))


@pytest.mark.parametrize("first", ["pool", "frames"])
def test_shapes_that_onnx_infers_wrongly_are_not_asked_of_what_follows(
    tmp_path: Path, first: str
) -> None:
    feeds = {"x": random(1, 2, 5, 5)}
    nodes = [
        helper.make_node(
            "MaxPool", ["x"], ["t"], kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1],
            ceil_mode=1,
        )
    ]  # fmt: skip
    weights: dict[str, np.ndarray] = {}
    if first == "frames":
        feeds = {"x": random(1, 64, 1)}
        weights = {"step": np.array(4), "length": np.array(16)}
        nodes = [helper.make_node("STFT", ["x", "step", "", "length"], ["t"])]
    nodes += [helper.make_node("Mul", ["t", "t"], ["u"]), node("ReduceSumSquare", "u", "y")]
    model = network(nodes, ["y"], feeds, weights, 17)
    assert_same(computed(model, feeds, tmp_path), right(model, feeds))


DEFORMED: dict[str, tuple[tuple[int, ...], int, bool, dict[str, Any]]] = {
    "plain": ((4, 3, 3, 3), 1, False, {}),
    "with a mask": ((4, 3, 3, 3), 1, True, {"pads": [1, 1, 1, 1]}),
    "strided in groups": ((6, 2, 2, 2), 3, True, {"strides": [2, 1], "group": 3}),
}


@pytest.mark.parametrize("form", DEFORMED)
def test_deformed_convolution(tmp_path: Path, form: str) -> None:
    weights, groups, masked, attributes = DEFORMED[form]
    channels = weights[1] * attributes.get("group", 1)
    x, w, b = random(2, channels, 7, 6), random(*weights), random(weights[0])
    pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
    rows, columns = (
        (extent + pads[at] + pads[at + 2] - weights[2 + at]) // strides[at] + 1
        for at, extent in enumerate(x.shape[2:])
    )
    taps = weights[2] * weights[3]
    feeds = {"x": x, "o": 2 * random(2, groups * 2 * taps, rows, columns)}
    if masked:
        feeds["m"] = random(2, groups * taps, rows, columns)
    made = node("DeformConv", f"x w o b{' m' if masked else ''}", offset_group=groups, **attributes)
    model = network([made], ["y"], feeds, {"w": w, "b": b}, opset=19)
    expected = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    assert_same(computed(model, feeds, tmp_path), expected)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"strides": [2, 1], "pads": [1, 0, 0, 1]}, {"dilations": [2, 1]}],
    ids=["plain", "strided and padded", "dilated"],
)
def test_columns_become_an_image(tmp_path: Path, attributes: dict[str, Any]) -> None:
    image, taps = (5, 6), (2, 3)
    pads = attributes.get("pads", [0] * 4)
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    windows = [
        (extent + pads[at] + pads[at + 2] - dilations[at] * (taps[at] - 1) - 1) // strides[at] + 1
        for at, extent in enumerate(image)
    ]
    x = random(2, 4 * 6, windows[0] * windows[1])
    constants = {"image": np.array(image, np.int64), "taps": np.array(taps, np.int64)}
    model = network(
        [node("Col2Im", "x image taps", **attributes)], ["y"], {"x": x}, constants, opset=18
    )
    assert_same(computed(model, {"x": x}, tmp_path), right(model, {"x": x}))


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_sequences_are_reversed_up_to_their_lengths(tmp_path: Path, axes: tuple[int, int]) -> None:
    time, batch = axes
    feeds = {"x": random(4, 4, 3), "n": np.array([1, 4, 3, 2], np.int64)}
    made = node("ReverseSequence", "x n", time_axis=time, batch_axis=batch)
    model = network([made], ["y"], feeds)
    assert_same(computed(model, feeds, tmp_path), right(model, feeds))


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 2, 3, 4, 2)])
def test_affine_grid(tmp_path: Path, aligned: int, size: tuple[int, ...]) -> None:
    rank = len(size) - 2
    feeds = {"theta": random(size[0], rank, rank + 1)}
    made = node("AffineGrid", "theta size", align_corners=aligned)
    model = network([made], ["y"], feeds, {"size": np.array(size, np.int64)}, opset=20)
    assert_same(computed(model, feeds, tmp_path), right(model, feeds))


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_update_of_a_cache_is_written_from_places_on(tmp_path: Path, mode: str) -> None:
    begins = np.array([1, 4 if mode == "circular" else 2], np.int64)
    feeds = {"cache": random(2, 3, 6, 4), "update": random(2, 3, 3, 4), "begins": begins}
    model = network(
        [node("TensorScatter", "cache update begins", mode=mode)], ["y"], feeds, opset=24
    )
    expected = feeds["cache"].copy()
    for row, begin in enumerate(begins):
        places = (begin + np.arange(3)) % 6
        expected[row, :, places] = feeds["update"][row].transpose(1, 0, 2)
    assert_same(computed(model, feeds, tmp_path), [expected])
