"""Kernels of our own give what the operators' definitions say, also in vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_nodes import assert_same, computed, network

from harness.specs.sweep import FusionLevel

LEVELS: list[FusionLevel] = ["none", "full"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_nothing_is_left_of_a_shift_by_all_bits(direction: str, dtype: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, np.iinfo(dtype).max, (4, 48), dtype, endpoint=True)
    by = random.integers(0, 2 * np.iinfo(dtype).bits, (4, 48)).astype(dtype)
    node = helper.make_node("BitShift", ["x", "by"], ["y"], direction=direction)
    feeds = {"x": x, "by": by}
    shift = np.left_shift if direction == "LEFT" else np.right_shift
    found = computed(network([node], [f"y:{dtype}"], feeds), feeds, tmp_path, here=True)
    assert_same(found, [shift(x, by)])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (2, 3)])
def test_slopes_are_for_negative_numbers(
    shape: tuple[int, ...], level: FusionLevel, tmp_path: Path
) -> None:
    x = np.array([[0, -1, 2], [np.nan, -np.inf, -0.0]], np.float32)
    slope = np.array([np.nan, 0.5, np.inf, 2, np.nan, 0.25], np.float32)[: np.prod(shape)]
    slope = slope.reshape(shape)
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    model = network([node], ["y"], {"x": x}, {"s": slope})
    with np.errstate(all="ignore"):
        right = np.where(x < 0, x * slope, x)
    assert_same(computed(model, {"x": x}, tmp_path, level), [right])


@pytest.mark.parametrize("count", [33, 100])
def test_many_tensors_are_joined_in_their_order(count: int, tmp_path: Path) -> None:
    feeds = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    numbers = {f"n{at}": np.full((2, 1 + at % 2), at, np.float32) for at in range(count)}
    node = helper.make_node("Concat", ["x", *numbers], ["y"], axis=1)
    (found,) = computed(network([node], ["y"], feeds, numbers), feeds, tmp_path)
    np.testing.assert_array_equal(found, np.concatenate([feeds["x"], *numbers.values()], axis=1))
