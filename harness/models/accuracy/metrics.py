"""How a model's outputs are scored against labels: metrics by name, each larger for better.

A metric turns each sample into a few numbers and a table of those into one score, so that the
score's interval can be had by drawing samples again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import InputError, unknown_name
from harness.models.accuracy.labels import (
    ANYTHING,
    BINARY,
    CLASS,
    CLASS_MAP,
    NUMBER,
    NUMBERS,
    LabelKind,
)
from harness.models.accuracy.scores import (
    Outputs,
    Sample,
    Table,
    area_under_curve,
    binary_counts,
    classes,
    cosine,
    determination,
    distances,
    f1,
    f1_macro,
    intersection_over_union,
    margin,
    mean,
    negative_mean_distance,
    negative_root_mean_square,
    overlaps,
    pair,
    places,
    ratio,
    recall_macro,
    spearman,
    squares,
    top,
)
from harness.records.record import AGREEMENT, Accuracy

RESAMPLES = 1000


class Scorer(Protocol):
    """Is given the samples one by one, and then says how accurate the model was on them."""

    def add(self, outputs: Outputs, label: np.ndarray) -> None:
        """The outputs of one sample, each with a batch axis of 1, and its label as arranged."""
        ...

    def accuracy(self) -> Accuracy:
        """The score of all samples. Raises InputError where there are none."""
        ...


class Scoring(Protocol):
    """A way to score a model on labelled data: a built-in metric, or a user's own."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def labels(self) -> LabelKind: ...

    def source(self) -> Path | None:
        """The file that decides its scores, if that is not a part of this package."""
        ...

    def require(self) -> None:
        """Raises InputError where it cannot score anything here."""
        ...

    def scorer(self, samples: int) -> AbstractContextManager[Scorer]:
        """A scorer for a number of samples."""
        ...


@dataclass(frozen=True)
class Metric:
    """One way to score. `sample` gives the numbers of one sample, `aggregate` the score of a table
    of them, NaN where it is not defined. `is_share` marks scores that are the share of samples that
    hit. `summary` describes it, for people."""

    name: str
    title: str
    labels: LabelKind
    summary: str
    sample: Sample
    aggregate: Callable[[Table], float]
    is_share: bool = False

    def source(self) -> Path | None:
        return None

    def require(self) -> None:
        pass

    def scorer(self, samples: int) -> AbstractContextManager[Scorer]:
        return nullcontext(_TableScorer(self))


class _TableScorer:
    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._rows: list[Sequence[float]] = []

    def add(self, outputs: Outputs, label: np.ndarray) -> None:
        self._rows.append(self._metric.sample(outputs, label))

    def accuracy(self) -> Accuracy:
        return accuracy(self._metric, np.asarray(self._rows, dtype=np.float64))


def metric(name: str) -> Metric:
    """The metric of this name; InputError with the nearest known name if there is none."""
    if name not in METRICS:
        raise InputError(
            f"{unknown_name('metric', name, METRICS)}; or a function of yours, as module:function"
        )
    return METRICS[name]


def accuracy(found: Metric, table: Table, *, seed: int = 0) -> Accuracy:
    """Score and 95 % interval of a table of per-sample numbers, shape [samples, numbers].

    The interval is Wilson's for a share, else by bootstrap over the samples; a resample on which
    the metric is not defined counts as the score itself. Raises InputError for an empty table.
    """
    from harness.statistics.shares import bootstrap_interval, wilson_interval

    samples = len(table)
    if not samples:
        raise InputError(f"metric '{found.name}': there are no samples to score")
    value, outcomes = found.aggregate(table), None
    if found.is_share:
        hits = table[:, 0] > 0
        low, high = wilson_interval(int(hits.sum()), samples)
        outcomes = np.packbits(hits).tobytes().hex()
    else:
        low, high = bootstrap_interval(table, _defined(found.aggregate, value), seed, RESAMPLES)
    return Accuracy(
        value=value,
        ci_low=low,
        ci_high=high,
        metric=found.title,
        samples=samples,
        outcomes=outcomes,
    )


def _defined(aggregate: Callable[[Table], float], otherwise: float) -> Callable[[Table], float]:
    def score(table: Table) -> float:
        found = aggregate(table)
        return otherwise if np.isnan(found) else found

    return score


def agreement(
    reference: Sequence[Outputs], found: Sequence[Outputs], *, tolerance_of_scale: float = 1e-2
) -> Accuracy:
    """The share of inputs on which a model says the same as the reference did.

    For a model with one output of shape [1, classes], "the same" is the same largest class; for any
    other it is every output within `tolerance_of_scale` times the largest absolute value of that
    output in the reference for that input. NaN and infinities agree with themselves alone.
    """
    if len(reference) != len(found) or not reference:
        raise ValueError(f"{len(reference)} reference results against {len(found)}")
    hits = [
        _agrees(one, other, tolerance_of_scale) for one, other in zip(reference, found, strict=True)
    ]
    share = Metric("agreement", AGREEMENT, ANYTHING, "", top(1), mean, is_share=True)
    return accuracy(share, np.asarray(hits, dtype=np.float64)[:, np.newaxis])


def _agrees(reference: Outputs, found: Outputs, tolerance_of_scale: float) -> bool:
    if [item.shape for item in reference] != [item.shape for item in found]:
        return False
    pairs = list(zip(reference, found, strict=True))
    if not all(_odd_alike(one, other) for one, other in pairs):
        return False
    first = reference[0]
    if len(reference) == 1 and first.ndim == 2 and first.shape[0] == 1 and first.shape[1] > 1:
        return bool(first.argmax() == found[0].argmax())
    return all(_close(one, other, tolerance_of_scale) for one, other in pairs)


def _odd_alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have NaN and infinities in the same places."""
    odd = ~np.isfinite(one)
    if not np.array_equal(odd, ~np.isfinite(other)):
        return False
    return np.array_equal(one[odd], other[odd], equal_nan=one.dtype.kind == "f")


def _close(one: np.ndarray, other: np.ndarray, tolerance_of_scale: float) -> bool:
    finite = np.isfinite(one)
    wanted = one[finite].astype(np.float64)
    apart = np.abs(wanted - other[finite]).max(initial=0.0)
    return bool(apart <= tolerance_of_scale * np.abs(wanted).max(initial=0.0))


METRICS: dict[str, Metric] = {
    item.name: item
    for item in (
        Metric(
            "top1",
            "top-1 accuracy",
            CLASS,
            "share of samples whose label has the largest score, or is the one integer given",
            top(1),
            mean,
            is_share=True,
        ),
        Metric(
            "top5",
            "top-5 accuracy",
            CLASS,
            "share of samples whose label is among the five largest scores",
            top(5),
            mean,
            is_share=True,
        ),
        Metric(
            "balanced-accuracy",
            "balanced accuracy",
            CLASS,
            "mean over the classes of the share of each that is found",
            classes,
            recall_macro,
        ),
        Metric(
            "f1",
            "F1",
            BINARY,
            "F1 of class 1: of one score, a probability, where it is above 0.5; of two, the larger",
            binary_counts,
            f1,
        ),
        Metric(
            "f1-macro",
            "macro F1",
            CLASS,
            "mean over the classes of the F1 of each",
            classes,
            f1_macro,
        ),
        Metric(
            "auc",
            "area under the ROC curve",
            BINARY,
            "area under the receiver operating characteristic of one score or of two",
            margin,
            area_under_curve,
        ),
        Metric(
            "pixel-accuracy",
            "pixel accuracy",
            CLASS_MAP,
            "share of the places of a map of classes that are right",
            places,
            ratio,
        ),
        Metric(
            "mean-iou",
            "mean IoU",
            CLASS_MAP,
            "mean over the classes of intersection over union, of all samples together",
            overlaps,
            intersection_over_union,
        ),
        Metric(
            "spearman",
            "Spearman correlation",
            NUMBER,
            "rank correlation of the output, one value, with the label",
            pair,
            spearman,
        ),
        Metric(
            "r2",
            "coefficient of determination",
            NUMBERS,
            "1 - squared error / squares about the mean label, of all values together",
            squares,
            determination,
        ),
        Metric(
            "neg-mae",
            "negative mean absolute error",
            NUMBERS,
            "minus the mean absolute error, so that larger is better",
            distances,
            negative_mean_distance,
        ),
        Metric(
            "neg-rmse",
            "negative root mean square error",
            NUMBERS,
            "minus the root of the mean squared error, so that larger is better",
            squares,
            negative_root_mean_square,
        ),
        Metric(
            "cosine",
            "cosine similarity",
            NUMBERS,
            "mean cosine of the angle between output and label",
            cosine,
            mean,
        ),
    )
}
"""The built-in metrics, one row each."""
