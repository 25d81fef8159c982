"""The float64 judge knows the quantized operators of ONNX Runtime's own domain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import reference
from onnx_nodes import network
from quantized_lstms import LSTMS
from quantized_runtime_cases import CASES
from small_models import save

from harness.judges.base import CannotJudge
from harness.judges.onnx_float64 import OnnxFloat64


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_runtime_within_a_step(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    model = network(case.nodes, case.outputs, case.feeds, case.weights, case.opset)
    judge = OnnxFloat64(save(model, tmp_path / "model.onnx"))
    (found,), (right,) = judge.exact(case.feeds), reference(model, case.feeds)
    if right.dtype.kind == "f":
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * np.abs(right).max())
    else:
        apart = np.abs(found.astype(np.int64) - right.astype(np.int64))
        assert apart.max() <= 1 and apart.mean() < 0.01


LAYERS = {
    name: LSTMS[name] for name in ("forward", "of signed weights", "of rows", "bidirectional")
}


@pytest.mark.parametrize("name", LAYERS)
def test_it_knows_quantized_lstms(tmp_path: Path, name: str) -> None:
    case = LAYERS[name]
    model = network(case.nodes, case.outputs, case.feeds, case.weights, case.opset)
    judge = OnnxFloat64(save(model, tmp_path / "model.onnx"))
    for found, right in zip(judge.exact(case.feeds), reference(model, case.feeds), strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=2e-2)


def test_it_says_what_it_does_not_know(tmp_path: Path) -> None:
    case = LSTMS["with peepholes"]
    model = network(case.nodes, case.outputs, case.feeds, case.weights, case.opset)
    judge = OnnxFloat64(save(model, tmp_path / "model.onnx"))
    with pytest.raises(CannotJudge, match="an LSTM that is not the usual one"):
        judge.exact(case.feeds)
