from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.errors import InputError
from harness.models.accuracy.metrics import METRICS, accuracy, agreement, metric
from harness.models.accuracy.scores import area_under_curve, f1, spearman
from harness.records.record import AGREEMENT


def table(name: str, outputs: list[list[float]], labels: list[float]) -> np.ndarray:
    found = metric(name)
    rows = [
        found.sample([np.asarray([out], dtype=np.float32)], np.asarray(label))
        for out, label in zip(outputs, labels, strict=True)
    ]
    return np.asarray(rows, dtype=np.float64)


def test_metric_error_names_nearest_when_unknown() -> None:
    with pytest.raises(InputError, match="no metric 'top-1'; did you mean 'top1'") as found:
        metric("top-1")
    assert all(name in str(found.value) for name in METRICS)
    assert str(found.value).endswith("or a function of yours, as module:function")


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.bool_, np.float16])
def test_top_orders_scores_of_every_type(dtype: type) -> None:
    """Integers wrap around when they are negated: 0 as uint8, -128 as int8."""
    least, most = (0, 1) if dtype == np.bool_ else (np.iinfo(np.int8).min, 100)
    scores = np.asarray([[least, most, least]]).clip(0 if dtype == np.uint8 else None).astype(dtype)
    for name, hit in (("top1", [0.0, 1.0, 0.0]), ("top5", [1.0, 1.0, 1.0])):
        found = [metric(name).sample([scores], np.asarray(label))[0] for label in range(3)]
        assert found == hit


def test_top1_takes_the_integer_that_a_model_gives_for_its_class() -> None:
    said = [metric("top1").sample([np.asarray([7])], np.asarray(label))[0] for label in (7, 0)]
    assert said == [1.0, 0.0]


def test_f1_follows_its_definition_when_one_score_or_two() -> None:
    labels = [1.0, 1.0, 0.0, 0.0]
    single = table("f1", [[0.9], [0.1], [0.8], [0.2]], labels)
    double = table("f1", [[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2]], labels)
    assert np.array_equal(single, double)
    assert f1(single) == 0.5  # one hit, one false, one missed


def test_f1_is_zero_when_nothing_is_found() -> None:
    assert f1(np.asarray([[0.0, 0.0, 1.0]])) == 0.0


def test_f1_counts_a_score_that_is_no_number_as_wrong() -> None:
    assert table("f1", [[np.nan], [np.nan, 1.0]], [0, 1]).tolist() == [[0, 1, 0], [0, 0, 1]]


def value(name: str, outputs: list[list[float]], labels: list[float]) -> float:
    return metric(name).aggregate(table(name, outputs, labels))


def test_metrics_of_classes_follow_their_definitions() -> None:
    """Said 0, 1, 1, 2, 1 where 0, 0, 1, 2, 2 is true: scikit-learn's example of multiclass."""
    outputs = [[9.0, 0, 0], [0.0, 9, 0], [0.0, 9, 0], [0.0, 0, 9], [0.0, 9, 0]]
    labels = [0.0, 0, 1, 2, 2]
    # Class 0: precision 1, recall 1/2; class 1: 1/3 and 1; class 2: 1 and 1/2.
    assert value("balanced-accuracy", outputs, labels) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert value("f1-macro", outputs, labels) == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert value("top1", outputs, labels) == pytest.approx(3 / 5)
    undefined = [[np.nan, 0, 0]] * 5
    assert (
        value("balanced-accuracy", undefined, labels) == value("f1-macro", undefined, labels) == 0
    )


def test_auc_follows_its_definition() -> None:
    # Of the four pairs of a positive and a negative three are in order.
    labels, scores = [0.0, 0, 1, 1], [[0.1], [0.4], [0.35], [0.8]]
    assert value("auc", scores, labels) == 0.75
    assert value("auc", [[1 - score, score] for [score] in scores], labels) == 0.75
    assert value("auc", [[0.5]] * 4, labels) == 0.5  # ties count half
    assert np.isnan(value("auc", [[0.5]] * 2, [1.0, 1.0]))
    assert np.isnan(value("auc", [[np.nan], [0.4], [0.35], [0.8]], labels))


def test_interval_leaves_out_samples_on_which_a_metric_is_not_defined() -> None:
    found = accuracy(metric("auc"), table("auc", [[0.1], [0.4], [0.35], [0.8]], [0.0, 0, 1, 1]))
    assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1
    assert not accuracy(metric("auc"), np.ones((4, 2))).defined


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    positive = [score for score, true in rows if true]
    negative = [score for score, true in rows if not true]
    if positive and negative:
        pairs = [(a > b) + (a == b) / 2 for a in positive for b in negative]
        found = area_under_curve(np.asarray(rows, dtype=np.float64))
        assert found == pytest.approx(np.mean(pairs))


def test_errors_and_cosine_follow_their_definitions() -> None:
    outputs, labels = [[2.5, 0.0], [2.0, 8.0]], [[3.0, -0.5], [2.0, 7.0]]

    def of(name: str) -> float:
        found = metric(name)
        rows = [
            found.sample([np.asarray([out])], np.asarray(label))
            for out, label in zip(outputs, labels, strict=True)
        ]
        return found.aggregate(np.asarray(rows))

    # Errors of -0.5, 0.5, 0 and 1.
    assert of("neg-mae") == pytest.approx(-0.5)
    assert of("neg-rmse") == pytest.approx(-np.sqrt(1.5 / 4))
    assert of("r2") == pytest.approx(1 - 1.5 / 29.1875)  # about the mean, 2.875
    one = 7.5 / (2.5 * np.sqrt(9.25))
    other = 60 / (np.sqrt(68) * np.sqrt(53))
    assert of("cosine") == pytest.approx((one + other) / 2)
    assert metric("cosine").sample([np.zeros((1, 2))], np.ones(2)) == [0.0]


@pytest.mark.parametrize("last", [False, True])
def test_metrics_of_maps_follow_their_definitions(last: bool) -> None:
    said = np.asarray([[0, 1, 1], [2, 2, 0]])
    true = np.asarray([[0, 1, 0], [2, 255, 1]])
    scores = np.eye(3)[said] if last else np.moveaxis(np.eye(3)[said], -1, 0)

    def of(name: str, scores: np.ndarray) -> float:
        found = metric(name)
        return found.aggregate(np.asarray([found.sample([scores[np.newaxis]], true)]))

    # Of the five places that are scored three are right.
    assert of("pixel-accuracy", scores) == 3 / 5
    # Both and either of class 0: 1 of 3; of class 1: 1 of 3; of class 2: 1 of 1.
    assert of("mean-iou", scores) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    broken = np.full_like(scores, np.nan)
    assert of("pixel-accuracy", broken) == of("mean-iou", broken) == 0


def test_map_in_which_nothing_is_scored_has_no_score() -> None:
    nowhere = np.full((2, 2), 255)
    for name in ("pixel-accuracy", "mean-iou"):
        found = metric(name)
        rows = np.asarray([found.sample([np.zeros((1, 3, 2, 2))], nowhere)])
        assert not accuracy(found, rows).defined


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_described(name: str) -> None:
    found = METRICS[name]
    assert found.name == name and found.title and found.summary and found.labels.text


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


def test_agreement_is_of_what_is_finite_beside_the_same_infinities() -> None:
    reference = [np.array([1.0, np.inf, np.nan]), np.array([5])]
    near = [np.array([1.001, np.inf, np.nan]), np.array([5])]
    far = [np.array([1.1, np.inf, np.nan]), np.array([5])]
    other = [np.array([1.0, -np.inf, np.nan]), np.array([5])]
    assert agreement([reference] * 3, [near, far, other]).value == pytest.approx(1 / 3)


def test_agreement_is_denied_when_shapes_differ() -> None:
    assert agreement([[np.ones((1, 3))]], [[np.ones((1, 4))]]).value == 0.0


def test_outcomes_of_a_share_say_which_samples_hit() -> None:
    hits = np.array([1, 0, 0, 1, 1, 0, 1, 0, 1, 1], float)
    found = accuracy(metric("top1"), hits[:, None])
    assert found.outcomes is not None
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(found.outcomes), np.uint8))
    np.testing.assert_array_equal(bits[: found.samples], hits)
    assert accuracy(metric("spearman"), np.random.default_rng(0).random((20, 2))).outcomes is None


def test_results_that_are_nan_in_the_same_places_agree() -> None:
    rows = [[np.array([[np.nan, 1.0]])], [np.array([[np.nan, np.nan]])]]
    assert agreement(rows, rows).value == 1.0
    assert agreement(rows, [rows[0], [np.array([[np.nan, 0.0]])]]).value == 0.5
