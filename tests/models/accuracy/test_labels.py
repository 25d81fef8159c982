"""Labels in the layouts that people keep them in, and those that cannot be right."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models.accuracy.labels import (
    ANYTHING,
    BINARY,
    CLASS,
    CLASS_MAP,
    NUMBER,
    NUMBERS,
    BadLabel,
    LabelKind,
    class_axis,
)
from harness.models.tensors import TensorSpec

FOUR = np.asarray([2, 0, 3, 1])


def of(*shape: int, dtype: str = "float32") -> TensorSpec:
    """The first output of one sample."""
    return TensorSpec("y", shape, dtype)


def arranged(kind: LabelKind, labels: Any, one: TensorSpec | None) -> np.ndarray:
    kind.check(np.asarray(labels))
    return kind.arrange(np.asarray(labels), one)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "float64", "int16"])
@pytest.mark.parametrize(
    "layout",
    [lambda y: y, lambda y: y[:, None], lambda y: y[:, None, None], lambda y: np.eye(4)[y]],
)
def test_class_indices_are_the_same_in_every_layout(dtype: str, layout: Any) -> None:
    found = arranged(CLASS, layout(FOUR).astype(dtype), of(4))
    assert found.tolist() == FOUR.tolist() and found.dtype == np.int64


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_one_hot_and_indices_come_to_the_same(indices: list[int]) -> None:
    for labels in (
        np.eye(7)[indices],
        np.eye(7, dtype=bool)[indices],
        np.asarray(indices)[:, None],
    ):
        assert arranged(CLASS, labels, of(7)).tolist() == indices


@pytest.mark.parametrize(
    ("kind", "labels", "one", "at", "said"),
    [
        (CLASS, FOUR + 0.7, of(4), 0, "is 2.7: expected a class index, a whole number from 0"),
        (CLASS, [0, 1, np.nan], of(4), 2, "is nan: expected a class index"),
        (CLASS, [0, np.inf], of(4), 1, "is inf: expected a class index"),
        (CLASS, [0, 1, -1], of(4), 2, "is -1: expected a class index"),
        (CLASS, [[0.0], [0.5]], of(4), 1, "holds 0.5: expected a class index"),
        (CLASS, [2**40, 0], of(4), 0, f"is {2**40}: expected"),
        (CLASS, [0, 3, 4, 1], of(4), 2, "is 4: the model has 4 classes, 0 to 3"),
        (CLASS, [1, 4, 2], of(4), 1, "these labels count from 1: subtract 1"),
        (CLASS, ["cat", "dog"], of(4), 0, "is 'cat', text: expected a class index"),
        (CLASS, [1j, 2], of(4), 0, "complex128: expected a class index"),
        (CLASS, [[0, 1, 0], [0, 1, 1]], of(3), 1, "is [0, 1, 1]: expected a class index, or one"),
        (CLASS, [[0, 0, 0], [0, 1, 0]], of(3), 0, "is [0, 0, 0]: expected a class index, or one"),
        (CLASS, [[0, 2], [1, 0]], of(2), 0, "is [0, 2]: expected a class index, or one-hot"),
        (CLASS, [[0, 1, 0]], of(4), 0, "is one-hot of 3 classes; the model has 4"),
        (CLASS, [0, 1], of(1), 0, "is one value a sample: expected a score for each class"),
        (BINARY, [0, 1, 2], of(1), 2, "is 2: expected 0 or 1"),
        (BINARY, [0.5], of(1), 0, "is 0.5: expected 0 or 1"),
        (BINARY, [-1, 1], of(2), 0, "is -1: expected 0 or 1"),
        (BINARY, [0, 1], of(3), 0, "has 3 values a sample: expected one score, or two"),
        (NUMBER, [0.5, np.nan], of(1), 1, "is nan: expected a number"),
        (NUMBER, ["a"], of(1), 0, "is 'a', text: expected a number"),
        (NUMBER, [1.0], of(2), 0, "has 2 values a sample: expected one"),
        (NUMBER, [[1.0, 2.0]], of(1), 0, "has 2 numbers: expected one"),
        (NUMBERS, [[1.0, 2.0]], of(3), 0, "has 2 numbers: the model's first output, 'y', has 3"),
        (NUMBERS, [[1.0, -np.inf]], of(2), 0, "holds -inf: expected a number"),
        (CLASS_MAP, np.full((2, 3, 5), 4), of(4, 3, 5), 0, "holds 4: expected 0 to 3"),
        (
            CLASS_MAP,
            np.zeros((2, 3, 6)),
            of(4, 3, 5),
            0,
            "has the shape [3, 6]: expected the shape",
        ),
    ],
)
def test_label_that_cannot_be_right_is_refused_with_its_row(
    kind: LabelKind, labels: Any, one: TensorSpec, at: int, said: str
) -> None:
    with pytest.raises(BadLabel, match=re.escape(said)) as found:
        arranged(kind, labels, one)
    assert found.value.at == at


def test_an_integer_that_a_model_gives_is_the_class_itself() -> None:
    assert arranged(CLASS, [0, 7], of(dtype="int64")).tolist() == [0, 7]
    assert arranged(CLASS, [[0], [7]], of(1, dtype="int32")).tolist() == [0, 7]


def test_binary_labels_are_taken_as_numbers_truth_or_one_hot() -> None:
    for labels in ([0, 1], [False, True], [[0.0], [1.0]], [[1, 0], [0, 1]]):
        assert arranged(BINARY, labels, of(2)).tolist() == [0, 1]


def test_numbers_follow_the_output() -> None:
    assert arranged(NUMBER, [[1.5], [2.5]], of(1)).tolist() == [1.5, 2.5]
    assert arranged(NUMBERS, np.zeros((3, 2, 2)), of(4)).shape == (3, 4)
    assert arranged(NUMBERS, [1, 2], of()).shape == (2, 1)
    assert arranged(ANYTHING, ["a", "b"], of(9)).tolist() == ["a", "b"]


def test_map_of_classes_may_mark_what_is_not_scored() -> None:
    labels = np.full((2, 3, 5), 255, np.uint8)
    assert arranged(CLASS_MAP, labels, of(4, 3, 5)).shape == (2, 3, 5)
    with pytest.raises(BadLabel, match="holds 300: expected 0 to 299"):
        arranged(CLASS_MAP, labels.astype(int) + 45, of(300, 3, 5))


@pytest.mark.parametrize(
    ("output", "label", "axis"),
    [
        ((4, 3, 5), (3, 5), 0),
        ((3, 5, 4), (3, 5), 2),
        ((4, 3, 5), (1, 3, 5), 0),
        ((4, 1, 5), (5,), 0),
        ((4, 3), (5,), None),
        ((), (3,), None),
    ],
)
def test_class_axis_is_the_one_that_a_map_lacks(
    output: tuple[int, ...], label: tuple[int, ...], axis: int | None
) -> None:
    assert class_axis(output, label) == axis
