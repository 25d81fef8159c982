"""Networks with state are imported, and run by LiteRT, as their first inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models
from tflite_cases import RECURRENT
from tflite_graphs import feeds, save
from tvm_runs import run_on_cpu

from harness.baselines.registry import open_session
from harness.hardware import load_target
from harness.inspection.kernels import inspect
from harness.judges.registry import open_evaluation
from harness.models.frontends import import_model

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
pytest.importorskip("ai_edge_litert", reason=REASON)

FEEDS = {"x": np.array([[1, 2, 3]], np.float32)}
FIRST = [[11, 22, 33]], [[10, 20, 30]]


def test_network_begins_with_the_variables_of_the_file(tmp_path: Path) -> None:
    path = small_models.save_counting_tflite(tmp_path / "model.tflite")
    imported = import_model(path, {}, tmp_path)
    assert imported.state == ("handle",)
    assert [spec.name for spec in imported.inputs] == ["x"]
    assert [spec.name for spec in imported.outputs] == ["y", "before"]
    for found, expected in zip(run_on_cpu(imported, FEEDS), FIRST, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_litert_and_the_judge_begin_anew_each_time(tmp_path: Path) -> None:
    path = small_models.save_counting_tflite(tmp_path / "model.tflite")
    session, judge = open_session("litert", path, 1), open_evaluation("tflite", path)
    for _ in range(2):
        for outputs in (session.run(FEEDS), *judge.outcomes(FEEDS)):
            for found, expected in zip(outputs, FIRST, strict=True):
                np.testing.assert_array_equal(found, expected)


def test_variables_that_are_tensors_begin_anew_too(tmp_path: Path) -> None:
    case = next(case for case in RECURRENT if case.operator == "SVDF")
    path = save([case], tmp_path / "model.tflite")
    session = open_session("litert", path, 1)
    (first,), (second,) = session.run(feeds([case])), session.run(feeds([case]))
    np.testing.assert_array_equal(first, second)
    assert import_model(path, {}, tmp_path).state == ("x0_4",)


def test_inspection_says_that_a_network_keeps_state(tmp_path: Path) -> None:
    path = small_models.save_counting_tflite(tmp_path / "model.tflite")
    assert inspect(str(path), "full", load_target("x86-host"), {}).state == ("handle",)
