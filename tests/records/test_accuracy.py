"""The one rule of when a network is less accurate than another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from example_results import example_record
from hypothesis import given
from hypothesis import strategies as st

from harness.models.accuracy.metrics import METRICS, accuracy
from harness.records.accuracy import gain, is_clearly_less, is_less_accurate, score, uncompressed
from harness.records.record import AGREEMENT, Accuracy, CellKey, Compression, Record

NAN = math.nan
EDGES = Compression(
    score="magnitude", pattern="block", sparsity=0.5, parameters=100, parameters_kept=50
)


def of(value: float, metric: str = "m", width: float = 0.01, samples: int = 100) -> Accuracy:
    return Accuracy(
        value=value, ci_low=value - width, ci_high=value + width, metric=metric, samples=samples
    )


def cell(
    found: Accuracy | None, name: str = "tuned", engine: str = "tvm", **more: object
) -> Record:
    key = CellKey(model="net", target="x86-host", configuration=name, engine=engine)
    return example_record(key, accuracy=found, **more)


def hits(*each: int) -> Accuracy:
    return accuracy(METRICS["top1"], np.asarray(each, float)[:, np.newaxis])


def test_a_score_that_is_no_number_is_below_every_number() -> None:
    assert gain(of(NAN), of(-5)) == (-math.inf, -math.inf)
    assert gain(of(-5), of(NAN)) == (math.inf, math.inf)
    assert gain(of(NAN), of(NAN)) == (-math.inf, math.inf)
    assert is_clearly_less(of(NAN), of(0.1)) and is_clearly_less(of(-math.inf), of(0.1))
    assert not is_clearly_less(of(0.1), of(NAN))
    assert (score(NAN), score(0.123456)) == ("NaN", "0.1235")


def test_samples_decide_where_they_are_known_and_intervals_where_not() -> None:
    one = hits(*[1] * 80 + [0] * 20)
    worse = hits(*[1] * 70 + [0] * 30)
    assert is_clearly_less(worse, one)  # the intervals of 0.7 and 0.8 overlap; ten samples do not
    without = [each.model_copy(update={"outcomes": None}) for each in (worse, one)]
    assert not is_clearly_less(*without)
    assert is_clearly_less(of(0.5), of(0.9)) and not is_clearly_less(of(0.895), of(0.9))


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 1))
def test_of_two_scores_one_at_most_is_clearly_less(one: float, other: float, width: float) -> None:
    pair = of(one, width=width), of(other, width=width)
    assert not (is_clearly_less(*pair) and is_clearly_less(*reversed(pair)))
    assert not is_clearly_less(pair[0], pair[0])


def test_other_metrics_do_not_compare() -> None:
    assert not is_clearly_less(of(0.1, "top-1 accuracy"), of(0.9, "F1"))


@pytest.mark.parametrize(
    ("agreed", "less"), [(0.5, True), (0.75, True), (0.875, False), (1, False)]
)
def test_a_network_with_fewer_edges_must_agree_where_there_are_no_labels(
    agreed: float, less: bool
) -> None:
    whole = cell(of(1.0, AGREEMENT), "baseline", "onnxruntime")
    assert is_less_accurate(cell(of(agreed, AGREEMENT), edges=EDGES), whole) == less
    # One with all its edges was verified against the same reference.
    assert not is_less_accurate(cell(of(agreed, AGREEMENT)), whole)


def test_a_cell_is_judged_by_what_is_known_of_it() -> None:
    assert is_less_accurate(cell(of(NAN)), None) and not is_less_accurate(cell(of(0.1)), None)
    assert not is_less_accurate(cell(None), cell(of(0.9)))
    assert not is_less_accurate(cell(of(0.1)), cell(None))


def test_the_uncompressed_network_is_the_verified_engine_s_cell_where_there_is_one() -> None:
    dense, sparse = cell(of(0.9), "fused"), cell(of(0.8), "sparse", edges=EDGES)
    other = cell(of(0.91), "baseline", "openvino")
    reference = cell(of(0.92), "baseline", "onnxruntime")
    assert uncompressed([sparse, dense, other, reference]) is reference
    assert uncompressed([sparse, dense, other]) is other
    assert uncompressed([sparse, dense]) is dense
    assert uncompressed([sparse, cell(None, "baseline", "onnxruntime")]) is None
    assert uncompressed([cell(of(NAN), "baseline", "onnxruntime"), dense]) is dense
    assert uncompressed([dense.model_copy(update={"status": "failed"})]) is None
