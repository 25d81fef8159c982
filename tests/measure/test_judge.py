"""A network's judge, in its process, finds out who is off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from small_models import FLOAT, INT64, onnx_model, save

from harness.baselines.onnxruntime import OnnxRuntimeSession
from harness.errors import CellFailure
from harness.files.arrays import write_arrays
from harness.measure.judge import NetworkJudge
from harness.measure.judgement import Opinions
from harness.measure.verification import OutputKind, verify

X = np.linspace(-12, -6, 60, dtype=np.float32).reshape(1, 60)


@pytest.fixture
def sigmoid(tmp_path: Path) -> Path:
    """As YuNet ends: scores of places without a face, of which ONNX Runtime's are imprecise."""
    model = onnx_model([helper.make_node("Sigmoid", ["x"], ["y"])], [("x", FLOAT, [1, 60])], ["y"])
    write_arrays(tmp_path / "inputs.npz", [[("x", X)], [("x", -X)]])
    return save(model, tmp_path / "m.onnx")


def judge_of(path: Path, memory_mb: float = 4096) -> NetworkJudge:
    return NetworkJudge(path, path.with_name("inputs.npz"), memory_mb, 60.0)


def test_a_sigmoid_that_is_right_is_right_whatever_the_reference_says(sigmoid: Path) -> None:
    reference = [OnnxRuntimeSession(sigmoid, 1).run({"x": X})]
    exact = (1 / (1 + np.exp(-X.astype(np.float64)))).astype(np.float32)
    off = exact * np.float32(0.97)
    with judge_of(sigmoid) as judge:
        ours = verify("onnxruntime", reference, [[exact]], True, [OutputKind("y")], judge)
        assert ours.right
        blamed = verify("engine", [[off]], [[exact]], True, [OutputKind("y")], judge)
        assert blamed.judge == "float64" and blamed.blame is not None
        assert blamed.blame.startswith("engine is off in 60 of 60 values of output 'y' on input 1")
        with pytest.raises(CellFailure, match=r"60 of 60 values differ from engine's.*, float64 "):
            verify("engine", [[exact]], [[off]], True, [OutputKind("y")], judge)


def test_opinions_are_of_each_input_and_not_in_doubt_without_rounding(sigmoid: Path) -> None:
    with judge_of(sigmoid) as judge:
        for at, x in enumerate((X, -X)):
            opinions = judge(at, True)
            assert isinstance(opinions, Opinions)
            (opinion,) = opinions.of
            expected = 1 / (1 + np.exp(-x.astype(np.float64)))
            np.testing.assert_allclose(opinion.value, expected, rtol=1e-14)
            assert (opinion.doubt / expected > 0).all() and (opinion.doubt / expected < 1e-6).all()
    assert [path.name for path in sorted(sigmoid.parent.iterdir())] == ["inputs.npz", "m.onnx"]


def test_ties_are_in_doubt(tmp_path: Path) -> None:
    """Two sums that are equal but for rounding: either place is the largest."""
    model = onnx_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0),
        ],
        [("x", FLOAT, [8, 3])],
        [("y", INT64, [8])],
        {"w": np.array([[0.1, 0.3, 0], [0.2, 0.2, 0], [0.3, 0.1, 0]], np.float32)},
    )
    x = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    x[:, 2] = x[:, 0]
    write_arrays(tmp_path / "inputs.npz", [[("x", x)]])
    path = save(model, tmp_path / "m.onnx")
    kinds = [OutputKind("y")]
    found, other, wrong = (np.full(8, at) for at in (0, 1, 2))
    mixed = np.where(np.arange(8) % 2, found, other)
    with judge_of(path) as judge:
        opinions = judge(0, True)
        assert isinstance(opinions, Opinions) and opinions.of[0].doubt.any()
        places = np.flatnonzero(opinions.of[0].doubt)
        either = opinions.of[0].value.copy()
        either[places] = mixed[places]
        assert verify("r", [[opinions.of[0].value]], [[either]], True, kinds, judge).right
        with pytest.raises(CellFailure, match="8 of 8"):
            verify("r", [[opinions.of[0].value]], [[wrong]], True, kinds, judge)


def test_a_judge_that_fails_says_why_once(sigmoid: Path) -> None:
    sigmoid.write_bytes(b"no model")
    with judge_of(sigmoid) as judge:
        first = judge(0, True)
        assert isinstance(first, str) and "failed" in first and "expected an ONNX model" in first
        assert judge(1, False) == first
    with pytest.raises(CellFailure, match=r"no judge: evaluating the network failed"):
        verify("r", [[X]], [[X + 1]], True, [OutputKind("y")], judge)


def test_a_judge_that_takes_too_much_memory_is_none(sigmoid: Path) -> None:
    with judge_of(sigmoid, memory_mb=1) as judge:
        assert "memory" in str(judge(0, True))


def test_sums_of_a_spectrum_that_cancel_are_in_doubt(tmp_path: Path) -> None:
    """The imaginary part of the highest frequency is 0, or what rounding leaves."""
    step = helper.make_node("STFT", ["x", "step", "", "length"], ["y"])
    constants = {"step": np.array(4), "length": np.array(16)}
    model = onnx_model([step], [("x", FLOAT, [1, 64, 1])], [("y", FLOAT, None)], constants, 17)
    path = save(model, tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(1, 64, 1)).astype(np.float32)
    write_arrays(tmp_path / "inputs.npz", [[("x", x)]])
    (reference,) = OnnxRuntimeSession(path, 1).run({"x": x})
    ours = reference.copy()
    ours[..., -1, 1] = 0
    assert np.abs(reference[..., -1, 1]).max() > 0
    with judge_of(path) as judge:
        assert verify("r", [[reference]], [[ours]], True, [OutputKind("y")], judge).right
        ours[..., 1, 1] += 1e-2
        with pytest.raises(CellFailure):
            verify("r", [[reference]], [[ours]], True, [OutputKind("y")], judge)


def test_judge_that_evaluates_another_function_is_none(tmp_path: Path) -> None:
    """ONNX's own LpPool counts windows twice that reach beyond the image."""
    step = helper.make_node(
        "LpPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[3, 3], ceil_mode=1, p=1,
        pads=[1, 0, 0, 1],
    )  # fmt: skip
    path = save(
        onnx_model([step], [("x", FLOAT, [1, 2, 9, 10])], [("y", FLOAT, None)], {}, 18),
        tmp_path / "m.onnx",
    )
    x = np.random.default_rng(0).normal(size=(1, 2, 9, 10)).astype(np.float32)
    write_arrays(tmp_path / "inputs.npz", [[("x", x)]])
    reference = OnnxRuntimeSession(path, 1).run({"x": x})
    with judge_of(path) as judge:
        opinion = judge(0, False)
        assert isinstance(opinion, str)
        assert "ONNX's evaluation of operator LpPool of node" in opinion
        with pytest.raises(CellFailure, match=r"no judge: .*LpPool"):
            verify("r", [reference], [[2 * reference[0]]], True, [OutputKind("y")], judge)
