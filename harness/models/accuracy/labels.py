"""Labels as metrics take them: checked value by value, and brought into one layout.

People keep class indices as [N], [N, 1] or one-hot, as integers or as floats. Each is taken for
its kind; a value that cannot be a label is refused with its row, never rounded or dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.models.tensors import TensorSpec

Labels = np.ndarray
"""Shape [samples, ...]."""

NOT_SCORED = 255
"""In a map of classes, the value of places that are not scored, if there are fewer classes."""
_MOST_CLASSES = 2**31
_SHOWN = 6


class BadLabel(Exception):
    """One label that cannot be right: `at` is its row, and the text goes on after "row N"."""

    def __init__(self, at: int, text: str) -> None:
        super().__init__(text)
        self.at = at


@dataclass(frozen=True)
class LabelKind:
    """The kind of one sample's label.

    `check` looks at the values alone, before anything is known of the model. `arrange` brings
    labels, [samples, ...], into the layout that a metric takes; it is given the first output of
    one sample, without its batch axis, or None where that is not known. Both raise BadLabel.
    `is_single` says that the output of a sample is one value, so that an output of shape [N] is of
    N samples.
    """

    text: str
    check: Callable[[Labels], None]
    arrange: Callable[[Labels, TensorSpec | None], Labels]
    is_single: bool = False


def _refuse(labels: Labels, wrong: np.ndarray, expected: str) -> None:
    """Raise BadLabel for the first row in which `wrong`, of the shape of `labels`, is true."""
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise BadLabel(int(at[0]), f"{_is(labels, labels[at])}: expected {expected}")


def _is(labels: Labels, value: object) -> str:
    return f"{'is' if labels.ndim == 1 else 'holds'} {value}"


def _numbers(expected: str) -> Callable[[Labels], None]:
    def check(labels: Labels) -> None:
        if labels.dtype.kind not in "iufb":
            text = "text" if labels.dtype.kind in "US" else str(labels.dtype)
            first = labels.ravel()[0]
            raise BadLabel(0, f"{_is(labels, repr(first.item()))}, {text}: expected {expected}")
        if labels.dtype.kind == "f":
            _refuse(labels, ~np.isfinite(labels), expected)

    return check


def _whole(expected: str) -> Callable[[Labels], None]:
    numbers = _numbers(expected)

    def check(labels: Labels) -> None:
        numbers(labels)
        if labels.dtype.kind != "b":
            odd = (labels < 0) | (labels >= _MOST_CLASSES)
            if labels.dtype.kind == "f":
                odd |= labels != np.floor(labels)
            _refuse(labels, odd, expected)

    return check


def _binary(labels: Labels) -> None:
    expected = "0 or 1"
    _numbers(expected)(labels)
    _refuse(labels, (labels != 0) & (labels != 1), expected)


def _indices(labels: Labels, classes: int | None) -> Labels:
    """Class indices, [samples], from [samples], [samples, 1] or one-hot [samples, classes]."""
    flat = labels.reshape(len(labels), -1)
    width = flat.shape[1]
    if width == 1:
        return flat[:, 0].astype(np.int64)
    one_hot = ((flat == 0) | (flat == 1)).all(axis=1) & ((flat == 1).sum(axis=1) == 1)
    if not one_hot.all():
        at = int(np.argmin(one_hot))
        raise BadLabel(
            at, f"is {_short(flat[at])}: expected a class index, or one-hot: one 1, the rest 0"
        )
    if classes not in (None, width):
        raise BadLabel(0, f"is one-hot of {width} classes; the model has {classes}")
    return np.asarray(flat.argmax(axis=1))


def _class_index(labels: Labels, one: TensorSpec | None) -> Labels:
    if one is None:
        return _indices(labels, None)
    size = int(np.prod(one.shape))
    if size == 1 and np.dtype(one.dtype).kind in "iu":  # the class itself, not scores
        return _indices(labels, None)
    if size == 1:
        raise BadLabel(
            0,
            f"is a class index, and the model's first output, '{one.name}', is one value a sample: "
            "expected a score for each class; the metrics of one score are f1 and auc",
        )
    indices = _indices(labels, size)
    beyond = indices >= size
    if beyond.any():
        at = int(np.argmax(beyond))
        hint = ""
        if indices.min() == 1 and indices.max() == size:
            hint = "; these labels count from 1: subtract 1"
        raise BadLabel(at, f"is {indices[at]}: the model has {size} classes, 0 to {size - 1}{hint}")
    return indices


def _zero_or_one(labels: Labels, one: TensorSpec | None) -> Labels:
    size = int(np.prod(one.shape)) if one else None
    if one and size not in (1, 2):
        raise BadLabel(
            0,
            f"is 0 or 1, and the model's first output, '{one.name}', has {size} values a sample: "
            "expected one score, or two",
        )
    return _indices(labels, 2)


def _number(labels: Labels, one: TensorSpec | None) -> Labels:
    if one and np.prod(one.shape) != 1:
        raise BadLabel(
            0,
            f"is one number, and the model's first output, '{one.name}', has "
            f"{int(np.prod(one.shape))} values a sample: expected one",
        )
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] != 1:
        raise BadLabel(0, f"has {flat.shape[1]} numbers: expected one")
    return flat[:, 0]


def _numbers_of_output(labels: Labels, one: TensorSpec | None) -> Labels:
    flat = labels.reshape(len(labels), -1)
    if one and flat.shape[1] != np.prod(one.shape):
        raise BadLabel(
            0,
            f"has {flat.shape[1]} numbers: the model's first output, '{one.name}', has "
            f"{int(np.prod(one.shape))} values a sample",
        )
    return flat


def class_axis(output: tuple[int, ...], label: tuple[int, ...]) -> int | None:
    """Which axis of the output of one sample holds the classes of a map of shape `label`: the
    first, or the last. None where neither does."""
    without_ones = tuple(size for size in label if size != 1) or label
    for axis in (0, len(output) - 1):
        rest = output[:axis] + output[axis + 1 :]
        if output and (tuple(size for size in rest if size != 1) or rest) == without_ones:
            return axis
    return None


def _class_map(labels: Labels, one: TensorSpec | None) -> Labels:
    if one is None:
        return labels
    axis = class_axis(one.shape, labels.shape[1:])
    if axis is None:
        raise BadLabel(
            0,
            f"has the shape {list(labels.shape[1:])}: expected the shape of the model's first "
            f"output, '{one.name}' {list(one.shape)}, without its axis of classes, which is the "
            "first or the last",
        )
    classes = one.shape[axis]
    beyond = labels >= classes
    if classes <= NOT_SCORED:
        beyond &= labels != NOT_SCORED
    _refuse(labels, beyond, f"0 to {classes - 1}, of the model's classes, or {NOT_SCORED}")
    return labels.astype(np.int64)


def _short(row: np.ndarray) -> str:
    shown = ", ".join(f"{value:g}" for value in row[:_SHOWN].tolist())
    return f"[{shown}{', …' if len(row) > _SHOWN else ''}]"


_INDEX = "a class index, a whole number from 0"
CLASS = LabelKind(
    "a class index: [N], [N, 1] or one-hot [N, classes]", _whole(_INDEX), _class_index
)
BINARY = LabelKind("0 or 1: [N], [N, 1] or one-hot [N, 2]", _binary, _zero_or_one, is_single=True)
NUMBER = LabelKind("a number: [N] or [N, 1]", _numbers("a number"), _number, is_single=True)
NUMBERS = LabelKind("as many numbers as the output has", _numbers("a number"), _numbers_of_output)
CLASS_MAP = LabelKind(
    f"a class index for each place, {NOT_SCORED} where nothing is scored: [N, height, width]",
    _whole(_INDEX),
    _class_map,
)
ANYTHING = LabelKind("anything", lambda labels: None, lambda labels, one: labels)
