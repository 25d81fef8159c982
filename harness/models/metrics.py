"""How a model's outputs are scored against labels: metrics by name, each larger for better.

A metric turns each sample into a few numbers and a table of those into one score, so that the
score's interval can be had by drawing samples again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import InputError, unknown_name
from harness.record import Accuracy

Outputs = list[np.ndarray]
"""The outputs of one inference of batch 1, in the model's order; metrics read the first."""

Table = npt.NDArray[np.float64]
"""Per-sample numbers, shape [samples, numbers]."""

AGREEMENT = "agreement with reference"
RESAMPLES = 1000


@dataclass(frozen=True)
class Metric:
    """One way to score. `sample` gives the numbers of one sample, `aggregate` the score of a table
    of them. `is_share` marks scores that are the share of samples that hit."""

    name: str
    title: str
    labels: str
    """What a label of one sample must be, for people."""
    sample: Callable[[Outputs, np.ndarray], Sequence[float]]
    aggregate: Callable[[Table], float]
    is_share: bool = False


def metric(name: str) -> Metric:
    """The metric of this name; InputError with the nearest known name if there is none."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


def accuracy(found: Metric, table: Table, *, seed: int = 0) -> Accuracy:
    """Score and 95 % interval of a table of per-sample numbers, shape [samples, numbers].

    The interval is Wilson's for a share, else by bootstrap over the samples. Raises InputError for
    an empty table.
    """
    from harness.statistics import bootstrap_interval, wilson_interval

    samples = len(table)
    if not samples:
        raise InputError(f"metric '{found.name}': there are no samples to score")
    value, outcomes = found.aggregate(table), None
    if found.is_share:
        hits = table[:, 0] > 0
        low, high = wilson_interval(int(hits.sum()), samples)
        outcomes = np.packbits(hits).tobytes().hex()
    else:
        low, high = bootstrap_interval(table, found.aggregate, seed, RESAMPLES)
    return Accuracy(
        value=value,
        ci_low=low,
        ci_high=high,
        metric=found.title,
        samples=samples,
        outcomes=outcomes,
    )


def agreement(
    reference: Sequence[Outputs], found: Sequence[Outputs], *, tolerance_of_scale: float = 1e-2
) -> Accuracy:
    """The share of inputs on which a model says the same as the reference did.

    For a model with one output of shape [1, classes], "the same" is the same largest class; for any
    other it is every output within `tolerance_of_scale` times the largest absolute value of that
    output in the reference for that input. An output that is not finite never agrees.
    """
    if len(reference) != len(found) or not reference:
        raise ValueError(f"{len(reference)} reference results against {len(found)}")
    hits = [
        _agrees(one, other, tolerance_of_scale) for one, other in zip(reference, found, strict=True)
    ]
    share = Metric("agreement", AGREEMENT, "", _top(1), _mean, is_share=True)
    return accuracy(share, np.asarray(hits, dtype=np.float64)[:, np.newaxis])


def _agrees(reference: Outputs, found: Outputs, tolerance_of_scale: float) -> bool:
    if [item.shape for item in reference] != [item.shape for item in found]:
        return False
    if not all(np.isfinite(item).all() for item in found):
        return False
    first = reference[0]
    if len(reference) == 1 and first.ndim == 2 and first.shape[0] == 1 and first.shape[1] > 1:
        return bool(first.argmax() == found[0].argmax())
    return all(
        np.abs(one.astype(np.float64) - other).max(initial=0.0)
        <= tolerance_of_scale * np.abs(one.astype(np.float64)).max(initial=0.0)
        for one, other in zip(reference, found, strict=True)
    )


def _mean(table: Table) -> float:
    return float(table[:, 0].mean())


def _top(count: int) -> Callable[[Outputs, np.ndarray], Sequence[float]]:
    """Whether the label is among the `count` largest scores; not so if any score is NaN."""

    def sample(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
        scores = outputs[0].ravel()
        wanted = int(label)
        if not 0 <= wanted < scores.size:
            raise InputError(
                f"label {wanted}: the model has {scores.size} classes, 0 to {scores.size - 1}"
            )
        best = np.argsort(-scores, kind="stable")[:count]
        return [float(not np.isnan(scores).any() and wanted in best)]

    return sample


def _binary_counts(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """True positive, false positive, false negative of one sample."""
    scores = outputs[0].ravel()
    if scores.size > 2 or int(label) not in (0, 1):
        raise InputError(
            f"metric 'f1': expected one or two scores and a label 0 or 1, found {scores.size} "
            f"scores and label {label}"
        )
    said = bool(scores[-1] > (scores[0] if scores.size == 2 else 0.5))
    true = bool(label)
    return [float(said and true), float(said and not true), float(not said and true)]


def f1(table: Table) -> float:
    """2 TP / (2 TP + FP + FN) of a table of [TP, FP, FN]; 0 where there is nothing to find."""
    hits, wrong, missed = table.sum(axis=0)
    return float(2 * hits / (2 * hits + wrong + missed)) if hits else 0.0


def _pair(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    if outputs[0].size != 1:
        raise InputError(f"metric 'spearman': expected one output value, found {outputs[0].size}")
    return [float(outputs[0].ravel()[0]), float(label)]


def spearman(table: Table) -> float:
    """Spearman's rank correlation of the two columns of a table (Pearson's, of mean ranks).

    0 where a column is constant, for which it is not defined.
    """
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=0)
    centred = ranks - ranks.mean(axis=0)
    scale = float(np.sqrt((centred**2).sum(axis=0).prod()))
    return float((centred[:, 0] * centred[:, 1]).sum() / scale) if scale else 0.0


def _squares(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """Squared error, sum and sum of squares of the labels, and their number, of one sample."""
    found, wanted = outputs[0].astype(np.float64).ravel(), label.astype(np.float64).ravel()
    if found.size != wanted.size:
        raise InputError(
            f"metric 'r2': the model gives {found.size} values, a label has {wanted.size}"
        )
    return [
        float(((found - wanted) ** 2).sum()),
        float(wanted.sum()),
        float((wanted**2).sum()),
        float(wanted.size),
    ]


def _determination(table: Table) -> float:
    """1 - (squared error) / (squares about the mean); 0 where the labels are constant."""
    error, total, squares, count = table.sum(axis=0)
    spread = squares - total**2 / count
    return float(1 - error / spread) if spread > 0 else 0.0


METRICS: dict[str, Metric] = {
    item.name: item
    for item in (
        Metric("top1", "top-1 accuracy", "a class index", _top(1), _mean, is_share=True),
        Metric("top5", "top-5 accuracy", "a class index", _top(5), _mean, is_share=True),
        Metric("f1", "F1", "0 or 1", _binary_counts, f1),
        Metric("spearman", "Spearman correlation", "a number", _pair, spearman),
        Metric(
            "r2",
            "coefficient of determination",
            "as many numbers as outputs",
            _squares,
            _determination,
        ),
    )
}
