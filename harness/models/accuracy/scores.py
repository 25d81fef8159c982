"""Parts of metrics: the numbers of one sample, and the score of a table of them.

The functions of a sample take the outputs of the model for it, of which they read the first, and
its label in the layout of `harness.models.accuracy.labels`. A score that is NaN is never right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from harness.models.accuracy.labels import NOT_SCORED, class_axis

Outputs = list[np.ndarray]
"""The outputs of one inference of batch 1, in the model's order; metrics read the first."""

Table = npt.NDArray[np.float64]
"""Per-sample numbers, shape [samples, numbers]."""

Sample = Callable[[Outputs, np.ndarray], Sequence[float]]
_NO_CLASS = -1


def _scores(outputs: Outputs) -> npt.NDArray[np.float64]:
    """The first output as floats: integers would wrap around when they are negated."""
    return outputs[0].astype(np.float64)


def _predicted(scores: npt.NDArray[np.float64], axis: int) -> np.ndarray:
    """The class of the largest score, the first of equals; `_NO_CLASS` where one is NaN."""
    return np.where(np.isnan(scores).any(axis=axis), _NO_CLASS, scores.argmax(axis=axis))


def _class_of(outputs: Outputs) -> int:
    """A model's prediction: the class of its largest score, or its output if that is one
    integer."""
    if outputs[0].size == 1 and outputs[0].dtype.kind in "iu":
        return int(outputs[0].item())
    return int(_predicted(_scores(outputs).ravel(), 0))


def top(count: int) -> Sample:
    """Whether the label is among the `count` largest scores; not so if any score is NaN."""

    def sample(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
        if outputs[0].size == 1 or count == 1:
            return [float(_class_of(outputs) == int(label))]
        scores = _scores(outputs).ravel()
        best = np.argsort(-scores, kind="stable")[:count]
        return [float(not np.isnan(scores).any() and int(label) in best)]

    return sample


def classes(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """The class that the model says, and the true one."""
    return [float(_class_of(outputs)), float(label)]


def binary_counts(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """True positive, false positive, false negative of one sample. One score is a probability; of
    two the second is the positive class's."""
    scores, true = _scores(outputs).ravel(), bool(label)
    said = bool(scores[-1] > (scores[0] if scores.size == 2 else 0.5))
    if np.isnan(scores).any():
        said = not true
    return [float(said and true), float(said and not true), float(not said and true)]


def margin(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """How much more a model scores the positive class, and whether it is that."""
    scores = _scores(outputs).ravel()
    return [float(scores[-1] - (scores[0] if scores.size == 2 else 0)), float(label)]


def pair(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """The output, which is one value, and the label."""
    return [float(outputs[0].item()), float(label)]


def squares(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """Squared error, sum and sum of squares of the labels, and their number, of one sample."""
    found, wanted = _scores(outputs).ravel(), label.astype(np.float64).ravel()
    return [
        float(((found - wanted) ** 2).sum()),
        float(wanted.sum()),
        float((wanted**2).sum()),
        float(wanted.size),
    ]


def distances(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """The sum of absolute errors of one sample, and their number."""
    found, wanted = _scores(outputs).ravel(), label.astype(np.float64).ravel()
    return [float(np.abs(found - wanted).sum()), float(wanted.size)]


def cosine(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """The cosine of the angle between output and label; 0 where either is zero."""
    found, wanted = _scores(outputs).ravel(), label.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(found) * np.linalg.norm(wanted))
    return [float(found @ wanted) / lengths if lengths else 0.0]


def _map(outputs: Outputs, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The predicted and the true class of each place that is scored, and the number of classes."""
    scores = _scores(outputs)[0]
    axis = class_axis(scores.shape, label.shape)
    assert axis is not None
    count = scores.shape[axis]
    found, wanted = _predicted(scores, axis).ravel(), label.ravel()
    counted = wanted < count if count <= NOT_SCORED else np.ones(wanted.shape, bool)
    return found[counted], wanted[counted], count


def places(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """How many places of a map are right, and how many are scored."""
    found, wanted, _ = _map(outputs, label)
    return [float((found == wanted).sum()), float(wanted.size)]


def overlaps(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """For each class the places that both are of it, then for each those that either is."""
    found, wanted, count = _map(outputs, label)
    both = np.bincount(wanted[found == wanted], minlength=count)
    either = np.bincount(found[found >= 0], minlength=count)
    either += np.bincount(wanted, minlength=count) - both
    return [*both.astype(float), *either.astype(float)]


def mean(table: Table) -> float:
    """The mean of the first column."""
    return float(table[:, 0].mean())


def ratio(table: Table) -> float:
    """The sum of the first column over that of the second; NaN where that is 0."""
    above, below = table.sum(axis=0)
    return float(above / below) if below else float("nan")


def f1(table: Table) -> float:
    """2 TP / (2 TP + FP + FN) of a table of [TP, FP, FN]; 0 where there is nothing to find."""
    hits, wrong, missed = table.sum(axis=0)
    return float(2 * hits / (2 * hits + wrong + missed)) if hits else 0.0


def _of_classes(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class: how often it was said rightly, said, and true; of a table of [said, true]."""
    said, true = table.astype(np.int64).T
    count = int(max(said.max(), true.max())) + 1
    hits = np.bincount(true[said == true], minlength=count)
    return hits, np.bincount(said[said >= 0], minlength=count), np.bincount(true, minlength=count)


def f1_macro(table: Table) -> float:
    """The mean of the F1 of the classes that were said or are true."""
    hits, said, true = _of_classes(table)
    there = said + true > 0
    return float((2 * hits[there] / (said + true)[there]).mean())


def recall_macro(table: Table) -> float:
    """The mean over the classes that are true somewhere of the share of each that was found."""
    hits, _, true = _of_classes(table)
    return float((hits[true > 0] / true[true > 0]).mean())


def area_under_curve(table: Table) -> float:
    """The area under the receiver operating characteristic of a table of [score, label].

    By ranks: Mann and Whitney's U over the product of both counts, ties counted half. NaN where
    all labels are the same.
    """
    from scipy.stats import rankdata

    true = table[:, 1] > 0
    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(table[:, 0])
    above = float(ranks[true].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


def spearman(table: Table) -> float:
    """Spearman's rank correlation of the two columns of a table (Pearson's, of mean ranks).

    0 where a column is constant, for which it is not defined.
    """
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=0)
    centred = ranks - ranks.mean(axis=0)
    scale = float(np.sqrt((centred**2).sum(axis=0).prod()))
    return float((centred[:, 0] * centred[:, 1]).sum() / scale) if scale else 0.0


def determination(table: Table) -> float:
    """1 - (squared error) / (squares about the mean); 0 where the labels are constant."""
    error, total, squares_of, count = table.sum(axis=0)
    spread = squares_of - total**2 / count
    return float(1 - error / spread) if spread > 0 else 0.0


def negative_root_mean_square(table: Table) -> float:
    """Of a table as `squares` gives it: minus the root of the mean squared error."""
    error, _, _, count = table.sum(axis=0)
    return -float(np.sqrt(error / count))


def negative_mean_distance(table: Table) -> float:
    """Of a table as `distances` gives it: minus the mean absolute error."""
    return -ratio(table)


def intersection_over_union(table: Table) -> float:
    """The mean over the classes that occur of intersection over union, of all samples together;
    of a table as `overlaps` gives it. NaN where no place was scored."""
    both, either = np.split(table.sum(axis=0), 2)
    there = either > 0
    return float((both[there] / either[there]).mean()) if there.any() else float("nan")
