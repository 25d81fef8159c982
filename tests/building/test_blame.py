"""An error in TVM is told by the model's node; an error of ours stays what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model

from harness.building.blame import blaming
from harness.compiler.api import relax
from harness.errors import CellFailure
from harness.models.imported import Imported
from harness.specs.target import TvmTarget

TARGET = TvmTarget()


@pytest.fixture
def network(tmp_path: Path) -> Imported:
    model = onnx_model(
        [helper.make_node("Exp", ["x"], ["y"], name="exponential")], [("x", FLOAT, [2])], ["y"], {}
    )
    return imported(model, tmp_path)


def test_an_error_in_tvm_becomes_one_sentence_of_ours(network: Imported) -> None:
    with (
        pytest.raises(CellFailure, match=r"TVM fails on the network .* operators alone"),
        blaming(network, TARGET),
    ):
        relax.op.reshape(network.module["main"].params[0], (3, -1, -1))


def test_an_error_outside_tvm_is_not_blamed_on_it(network: Imported) -> None:
    with pytest.raises(ValueError, match="of ours"), blaming(network, TARGET):
        raise ValueError("of ours")
