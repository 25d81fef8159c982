"""Inputs for verifying: reproducible, of the right types, unchanged by a trip through a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.measure.inputs import read_arrays, verification_inputs, write_arrays
from harness.models.tensors import TensorSpec

SPECS = (TensorSpec("image/0", (1, 2), "float32"), TensorSpec("ids", (3,), "int64"))


def test_random_inputs_say_so_and_are_the_same_again() -> None:
    first, real = verification_inputs(None, SPECS, 3, seed=5)
    again, _ = verification_inputs(None, SPECS, 3, seed=5)
    assert not real and len(first) == 3
    for one, other in zip(first, again, strict=True):
        assert list(one) == ["image/0", "ids"]
        assert one["image/0"].dtype == np.float32 and set(one["ids"]) <= {0, 1}
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_arrays_come_back_in_order_with_their_names(tmp_path: Path) -> None:
    rows = [
        [("b/slash", np.arange(3)), ("a", np.ones((2, 2), np.float16))],
        [("only", np.array(7, np.int8))],
    ]
    write_arrays(tmp_path / "arrays.npz", rows)
    found = read_arrays(tmp_path / "arrays.npz")
    assert [list(row) for row in found] == [["b/slash", "a"], ["only"]]
    for row, back in zip(rows, found, strict=True):
        for name, array in row:
            assert array.dtype == back[name].dtype and np.array_equal(array, back[name])
    assert [path.name for path in tmp_path.iterdir()] == ["arrays.npz"]


def test_arrays_are_told_apart_whatever_they_are_called(tmp_path: Path) -> None:
    names = ["x" * 100_000, "../../x", "a\0b", "入力\u202e", "", "a/b"]
    rows = [[(name, np.full(2, at)) for at, name in enumerate(names)]]
    write_arrays(tmp_path / "arrays.npz", rows)
    (found,) = read_arrays(tmp_path / "arrays.npz")
    assert list(found) == names
    assert [int(array[0]) for array in found.values()] == list(range(len(names)))
