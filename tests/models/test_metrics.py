from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.errors import InputError
from harness.models.metrics import AGREEMENT, METRICS, accuracy, agreement, f1, metric, spearman


def table(name: str, outputs: list[list[float]], labels: list[float]) -> np.ndarray:
    found = metric(name)
    rows = [
        found.sample([np.asarray([out], dtype=np.float32)], np.asarray(label))
        for out, label in zip(outputs, labels, strict=True)
    ]
    return np.asarray(rows, dtype=np.float64)


def test_metric_error_names_nearest_when_unknown() -> None:
    with pytest.raises(InputError, match="no metric 'top-1'; did you mean 'top1'"):
        metric("top-1")


def test_top1_counts_hits_when_scores_have_a_largest() -> None:
    scores = table("top1", [[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [1, 0, 0, 0])
    found = accuracy(metric("top1"), scores)
    assert (found.value, found.samples, found.metric) == (0.75, 4, "top-1 accuracy")
    assert 0 <= found.ci_low < 0.75 < found.ci_high <= 1


def test_top5_hits_when_label_is_fifth() -> None:
    descending = [float(-at) for at in range(10)]
    assert table("top5", [descending, descending], [4, 5]).ravel().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["top1", "top5"])
def test_top_misses_when_a_score_is_not_a_number(name: str) -> None:
    assert table(name, [[np.nan, 0.1, 0.2]], [0]).tolist() == [[0.0]]


def test_top1_refuses_label_when_beyond_the_classes() -> None:
    with pytest.raises(InputError, match="label 3: the model has 3 classes, 0 to 2"):
        table("top1", [[0.1, 0.2, 0.3]], [3])


def test_f1_follows_its_definition_when_one_score_or_two() -> None:
    labels = [1.0, 1.0, 0.0, 0.0]
    single = table("f1", [[0.9], [0.1], [0.8], [0.2]], labels)
    double = table("f1", [[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2]], labels)
    assert np.array_equal(single, double)
    assert f1(single) == 0.5  # one hit, one false, one missed


def test_f1_is_zero_when_nothing_is_found() -> None:
    assert f1(np.asarray([[0.0, 0.0, 1.0]])) == 0.0


def test_f1_refuses_outputs_when_there_are_many_classes() -> None:
    with pytest.raises(InputError, match="found 3 scores and label 1"):
        table("f1", [[0.1, 0.2, 0.7]], [1])


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30).filter(
        lambda rows: all(len({row[side] for row in rows}) > 1 for side in (0, 1))
    )
)
def test_spearman_equals_scipy_when_defined(rows: list[tuple[int, int]]) -> None:
    numbers = np.asarray(rows, dtype=np.float64)
    assert spearman(numbers) == pytest.approx(
        stats.spearmanr(numbers[:, 0], numbers[:, 1]).statistic, abs=1e-12
    )


def test_spearman_is_zero_when_a_side_is_constant() -> None:
    assert spearman(np.asarray([[1.0, 1.0], [1.0, 2.0]])) == 0.0


def test_r2_is_one_when_exact_and_zero_when_it_says_the_mean() -> None:
    labels = [1.0, 2.0, 6.0]
    determination = METRICS["r2"].aggregate
    assert determination(table("r2", [[1.0], [2.0], [6.0]], labels)) == 1.0
    assert determination(table("r2", [[3.0]] * 3, labels)) == pytest.approx(0.0)


def test_interval_holds_the_value_when_it_is_bootstrapped() -> None:
    random = np.random.default_rng(1)
    labels = random.normal(size=60)
    outputs = (labels + random.normal(scale=0.5, size=60)).astype(np.float32)
    found = accuracy(
        metric("spearman"), table("spearman", [[float(out)] for out in outputs], list(labels))
    )
    assert found.ci_low < found.value < found.ci_high < 1
    assert found.ci_high - found.ci_low < 0.4


def test_accuracy_is_refused_when_there_are_no_samples() -> None:
    with pytest.raises(InputError, match="no samples"):
        accuracy(metric("top1"), np.empty((0, 1)))


def test_agreement_compares_largest_class_when_there_is_one_row_of_scores() -> None:
    reference = [[np.asarray([[0.1, 0.9]])], [np.asarray([[0.8, 0.2]])]]
    found = agreement(reference, [[np.asarray([[0.4, 0.6]])], [np.asarray([[0.4, 0.6]])]])
    assert (found.value, found.samples, found.metric) == (0.5, 2, AGREEMENT)


def test_agreement_needs_every_output_close_when_it_is_no_classifier() -> None:
    reference = [np.full((1, 2, 2), 10.0), np.ones((1, 3))]
    near = [np.full((1, 2, 2), 10.09), np.ones((1, 3))]
    far = [np.full((1, 2, 2), 10.0), np.full((1, 3), 1.02)]
    assert agreement([reference] * 2, [near, far], tolerance_of_scale=0.01).value == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_agreement_is_denied_when_an_output_is_not_finite(bad: float) -> None:
    reference = [np.asarray([[0.1, 0.9]])]
    assert agreement([reference], [[np.asarray([[bad, 0.9]])]]).value == 0.0


def test_agreement_is_denied_when_shapes_differ() -> None:
    assert agreement([[np.ones((1, 3))]], [[np.ones((1, 4))]]).value == 0.0


def test_outcomes_of_a_share_say_which_samples_hit() -> None:
    hits = np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, 1], float)
    found = accuracy(metric("top1"), hits[:, None])
    assert found.outcomes is not None
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(found.outcomes), np.uint8))
    np.testing.assert_array_equal(bits[: found.samples], hits)
    assert accuracy(metric("spearman"), np.random.default_rng(0).random((20, 2))).outcomes is None
