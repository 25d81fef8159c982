"""Inputs for verifying: reproducible, of all values that there are, unchanged by a trip through a
file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.files.arrays import read_arrays, write_arrays
from harness.measure.inputs import (
    KINDS,
    cautious_inputs,
    verification_inputs,
)
from harness.models.tensors import TensorSpec, ValueRange

SPECS = (
    TensorSpec("image/0", (1, 200), "float32"),
    TensorSpec("mask", (300,), "int64"),
    TensorSpec("ids", (300,), "int32"),
    TensorSpec("bytes", (3, 2000), "uint8"),
    TensorSpec("flags", (50,), "bool"),
    TensorSpec("scalar", (), "float16"),
)
RANGES = {"ids": ValueRange(extent=257)}


def test_random_inputs_say_so_and_are_the_same_again() -> None:
    first, real = verification_inputs(None, SPECS, 6, 5, RANGES)
    again, _ = verification_inputs(None, SPECS, 6, 5, RANGES)
    assert not real and len(first) == 6
    for one, other in zip(first, again, strict=True):
        assert list(one) == [spec.name for spec in SPECS]
        for spec in SPECS:
            assert (one[spec.name].shape, one[spec.name].dtype.name) == (spec.shape, spec.dtype)
            assert np.array_equal(one[spec.name], other[spec.name])
    assert not np.array_equal(first[0]["image/0"], first[len(KINDS)]["image/0"])


def test_integers_have_all_values_that_there_are() -> None:
    (found,), _ = verification_inputs(None, SPECS, 1, 0, RANGES)
    assert set(found["mask"]) == {0, 1} and set(found["flags"]) == {False, True}
    assert set(found["bytes"].ravel()) == set(range(256))
    assert 0 <= found["ids"].min() < 20 and 236 < found["ids"].max() <= 256


def test_state_is_random_beside_real_inputs_but_the_first() -> None:
    class Real:
        metric = "top-1"

        def examples(self, count: int) -> list[dict[str, np.ndarray]]:
            zero = np.zeros((1, 200), np.float32)
            return [{"image/0": zero, "scalar": np.float16(at)} for at in range(count)]

    specs = [SPECS[0], SPECS[-1]]
    rows, real = verification_inputs(Real(), specs, 3, 0, state=["image/0"])  # type: ignore[arg-type]
    assert real and [row["scalar"] for row in rows] == [0, 1, 2]
    first, second, third = (row["image/0"] for row in rows)
    assert not first.any() and second.std() > 0.5 and not np.array_equal(second, third)


def test_floats_are_of_all_kinds() -> None:
    found, _ = verification_inputs(None, SPECS[:1], 4, 0)
    normal, wide, unit, negative = (row["image/0"] for row in found)
    assert 0.5 < normal.std() < 1.5 and normal.min() < 0 < normal.max()
    assert np.abs(wide).max() > 300 and wide.min() < -100 and (wide == 0).sum() > 5
    assert 0 < np.abs(wide)[wide != 0].min() < 0.01
    assert unit.min() >= 0 and unit.max() <= 1 and negative.max() <= 0


def test_infinities_are_for_networks_that_look_for_them() -> None:
    found, _ = verification_inputs(None, SPECS, 4, 0, {"image/0": ValueRange(infinite=True)})
    values = found[1]["image/0"]
    assert np.isnan(values).any() and (values == np.inf).any() and (values == -np.inf).any()
    assert all(np.isfinite(found[at]["image/0"]).all() for at in (0, 2, 3))


def test_nothing_is_divided_by_zero() -> None:
    found, _ = verification_inputs(None, SPECS, 4, 0, {"bytes": ValueRange(divides=True)})
    assert all(row["bytes"].all() for row in found)
    assert any((row["ids"] == 0).any() for row in found)


@pytest.mark.parametrize("seed", range(3))
def test_cautious_inputs_are_ones_and_zeros(seed: int) -> None:
    for row in cautious_inputs(SPECS, 2, seed):
        assert set(row["ids"]) == {0, 1} and set(row["bytes"].ravel()) == {0, 1}
        assert np.isfinite(row["image/0"]).all()


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
