"""What counts as right: what equals the reference but for rounding, or what a judge says is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.errors import CellFailure
from harness.measure.judgement import Opinion, Opinions
from harness.measure.verification import OutputKind, verify

REFERENCE = [[np.array([1.0, -4.0], np.float32), np.array([[0.5]], np.float32)]]
Rows = Sequence[Sequence[np.ndarray]]


def changed(change: float) -> list[list[np.ndarray]]:
    return [[REFERENCE[0][0] + np.float32(change), REFERENCE[0][1]]]


def judge(value: object, *others: object) -> Opinions:
    first = np.asarray(value)
    dtype = np.float64 if first.dtype.kind == "f" else first.dtype
    found = [np.asarray(each, dtype) for each in (value, *others)]
    return Opinions("float64", [Opinion(found[0], tuple(found[1:]))])


def test_equal_outputs_are_right_and_no_judge_is_asked() -> None:
    def never(_at: int, _others: int) -> Opinions:
        raise AssertionError

    found = verify("reference", REFERENCE, changed(0), real_inputs=True, judge=never)
    assert (found.max_abs_error, found.max_error_of_scale, found.inputs) == (0, 0, 1)
    assert found.right and found.judge is None and found.blame is None


def test_error_is_measured_against_the_values_around() -> None:
    found = verify("reference", REFERENCE, changed(1e-4), real_inputs=False)
    assert found.max_abs_error == pytest.approx(1e-4, rel=1e-2)
    assert found.max_error_of_scale == pytest.approx(1e-4 / 2.75, rel=1e-2)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (changed(1e-3), r"output '0' on input 1 of 1 \(float32 \[2\]\): 2 of 2 values differ from"),
        (changed(1e-3), r"the worst is 1.001\d* at \[0\], where reference has 1 \(no judge: "),
        (changed(np.nan), "nan at"),
        (changed(np.inf), "inf at"),
        ([[REFERENCE[0][0]]], "1 outputs, the reference has 2"),
        ([[REFERENCE[0][0][:1], REFERENCE[0][1]]], r"shape \[1\], the reference's has \[2\]"),
        ([[REFERENCE[0][0].astype(int), REFERENCE[0][1]]], "dtype int64, the reference's has fl"),
    ],
)
def test_wrong_outputs_fail_the_cell(outputs: list[list[np.ndarray]], reason: str) -> None:
    with pytest.raises(CellFailure, match=reason):
        verify("reference", REFERENCE, outputs, real_inputs=True)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ([30000, 5], [30002, 5]),
        ([2**53 + 1], [2**53]),
        ([np.inf, 1.0], [np.nan, 1.0]),
        ([np.inf, 1.0], [-np.inf, 1.0]),
        ([9000.0, 0.1], [9000.0, 0.9]),
        ([-3.4e38, 1.0], [-3.4e38, -7.0]),
    ],
)
def test_no_value_hides_another(expected: list[float], found: list[float]) -> None:
    with pytest.raises(CellFailure, match="1 of"):
        verify("reference", [[np.array(expected)]], [[np.array(found)]], real_inputs=True)


def test_what_is_not_finite_in_the_reference_is_so_here() -> None:
    rows = [[np.array([np.inf, 1.0, np.nan])]]
    assert verify("reference", rows, rows, real_inputs=True).max_abs_error == 0


def test_a_reference_of_nothing_but_nan_verifies_nothing() -> None:
    nothing, something = np.full(3, np.nan), np.ones(3)
    with pytest.raises(CellFailure, match="nothing is verified: all values of output 'y' are NaN"):
        verify("reference", [[nothing]] * 2, [[nothing]] * 2, True, [OutputKind("y")])
    rows = [[nothing], [something]]
    assert verify("reference", rows, rows, real_inputs=True).right


def test_steps_are_for_quantized_outputs_alone() -> None:
    expected, found = np.array([3, 100], np.int8), np.array([4, 100], np.int8)
    assert verify("r", [[expected]], [[found]], True, [OutputKind("y", quantized=True)]).right
    with pytest.raises(CellFailure):
        verify("r", [[expected]], [[found]], True, [OutputKind("y")])
    with pytest.raises(CellFailure):
        verify("r", [[expected]], [[found + np.int8(1)]], True, [OutputKind("y", quantized=True)])


def single(*values: float) -> list[list[np.ndarray]]:
    return [[np.array(values, np.float32)]]


def test_the_judge_finds_the_reference_off() -> None:
    reference, ours = single(2.4e-3, 0.5, 0.7), single(2.472e-3, 0.5, 0.7)
    opinions = judge([2.472623e-3, 0.5, 0.7])
    found = verify("ORT", reference, ours, True, [OutputKind("y")], lambda *_: opinions)
    assert found.judge == "float64" and found.right
    assert found.blame is not None
    assert found.blame.startswith("ORT is off in 1 of 3 values of output 'y' on input 1 of 1: 0.00")
    with pytest.raises(
        CellFailure, match=r"at \[0\], where ORT has 0\.00247\d*, float64 0.0024726"
    ):
        verify("ORT", ours, reference, True, [OutputKind("y")], lambda *_: opinions)


def test_two_that_are_off_on_both_sides_of_the_judge_are_right() -> None:
    opinions = judge([1.0, 2.0, 3.0])
    found = verify("r", single(1, 2, 3.0004), single(1, 2, 2.9997), True, judge=lambda *_: opinions)
    assert found.judge == "float64" and found.blame is None


def test_within_the_tolerance_of_the_judge_is_right_though_the_reference_is_exact() -> None:
    opinions = judge([1.0, 2.0, 3.0])
    found = verify("r", single(1, 2, 3), single(1, 2, 3.0004), True, judge=lambda *_: opinions)
    assert found.right and found.blame is None
    with pytest.raises(CellFailure, match="1 of 3 values"):
        verify("r", single(1, 2, 3), single(1, 2, 3.0007), True, judge=lambda *_: opinions)


@pytest.mark.parametrize(
    ("reference", "ours", "exact"),
    [(0.164550483, 0.164634302, 0.164610412), (0.0, 2.63988991e-08, 2.63922549e-08)],
)
def test_closer_to_the_judge_than_the_reference_is_right(
    reference: float, ours: float, exact: float
) -> None:
    """Both are beyond the tolerance, as in a text detector's probabilities."""
    opinions = judge([exact])
    assert verify("r", single(reference), single(ours), True, judge=lambda *_: opinions).right


@pytest.mark.parametrize(("off", "right"), [([15, 19], True), ([40, 42], False)])
def test_errors_of_the_reference_are_those_around_a_place(off: list[int], right: bool) -> None:
    """By chance it is exact in one place, as where values of a mask cross zero."""
    exact = np.linspace(50.0, 100.0, 100)
    reference, ours = exact.astype(np.float32), exact.astype(np.float32)
    reference[off] *= np.float32(1 + 4e-4)
    ours[17] *= np.float32(1 + 6e-4)
    opinions = judge(exact)
    if right:
        assert verify("r", [[reference]], [[ours]], True, judge=lambda *_: opinions).right
    else:
        with pytest.raises(CellFailure, match=r"1 of 100 values .* at \[17\]"):
            verify("r", [[reference]], [[ours]], True, judge=lambda *_: opinions)


def test_what_rounding_decides_is_nobodys_error() -> None:
    opinions = judge([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    assert verify("r", single(1, 2, 3), single(1, 2, 4), True, judge=lambda *_: opinions).right
    ids = [[np.array([3, 7])]], [[np.array([3, 9])]]
    assert verify("r", *ids, True, judge=lambda *_: judge([3, 7], [3, 9])).right
    with pytest.raises(CellFailure):
        verify("r", *ids, True, judge=lambda *_: judge([3, 7], [3, 8]))


def test_where_rounding_decides_everything_any_value_may_be_the_one() -> None:
    """A softmax of huge logits that are equal but for rounding."""
    opinions = judge([0.25] * 4, [1, 0, 0, 0], [0, 0, 1, 0])
    hot = verify("r", single(*[0.25] * 4), single(0, 0, 0, 1), True, judge=lambda *_: opinions)
    assert hot.judge == "float64" and hot.blame is None
    with pytest.raises(CellFailure):
        verify("r", single(1, 2, 3), single(1, 2, 4), True, judge=lambda *_: judge([1.0, 2, 3]))


def test_values_that_nothing_moves_are_known_beside_others_that_rounding_decides() -> None:
    """Differences that cancel, and scores, in one output."""
    moved = [[0.0, 0, 0, 0, 0.3, 0.6], [3.0, -2, 5, 1, 0.3, 0.6], [-1.0, 4, -3, 2, 0.3, 0.6]]
    expected, found = single(2, 1, 4, -2, 0.3, 0.6), single(-3, 2, 1, 3, 0.3, 0.6)
    assert verify("r", expected, found, True, judge=lambda *_: judge(*moved)).right
    with pytest.raises(CellFailure, match=r"1 of 6 values differ.*the worst is 0\.4"):
        wrong = single(-3, 2, 1, 3, 0.4, 0.6)
        verify("r", expected, wrong, True, judge=lambda *_: judge(*moved))


def test_a_judge_that_agrees_with_nobody_is_not_believed() -> None:
    close, opinions = single(1, 2, 3.0001), judge([1.0, 2.0, 5.0])
    assert verify("r", single(1, 2, 3), close, True, judge=lambda *_: opinions).right
    with pytest.raises(CellFailure, match="float64 5"):
        verify("r", single(1, 2, 3), single(1, 2, 4), True, judge=lambda *_: opinions)


def test_an_overflow_of_the_reference_is_its_error() -> None:
    opinions = judge([1.0, 2.0, 100.0])
    found = verify("r", single(1, 2, np.inf), single(1, 2, 100), True, judge=lambda *_: opinions)
    assert found.blame is not None and "r is off" in found.blame


def test_other_values_are_asked_for_until_the_outputs_are_right() -> None:
    """A network that rounds to integers has a few values; each engine may have one."""
    wanted: list[int] = []

    def network(_at: int, others: int) -> Opinions:
        wanted.append(others)
        return judge([1.0], *[[value] for value in (1.0, 1.0, 1.002, 0.998, 1.0)][:others])

    expected, found = ([[np.array([value], np.float32)]] for value in (1.001, 0.9985))
    verify("reference", expected, found, real_inputs=True, judge=network)
    assert wanted == [0, 2, 8]


def test_judge_that_runs_out_of_time_is_not_less_than_it_was() -> None:
    def network(_at: int, others: int) -> Opinions | str:
        return "took too long" if others > 2 else judge([1.0], *[[1.0]] * others)

    wrong = [[np.array([1.01], np.float32)]]
    with pytest.raises(CellFailure, match=r"the worst is 1.00999\d* at \[0\].*float64 1$"):
        verify("reference", [[np.ones(1, np.float32)]], wrong, real_inputs=True, judge=network)
