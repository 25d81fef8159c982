"""What depends on no input is computed once, when a model is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_models
from tvm_runs import assert_same_numbers, operators_of

from harness.baselines.registry import open_session
from harness.models.frontends import import_model
from harness.models.tflite.constants import computed_constants

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
pytest.importorskip("ai_edge_litert", reason=REASON)


def test_shapes_and_weights_are_computed(tmp_path: Path) -> None:
    path = small_models.save_computed_tflite(tmp_path / "model.tflite")
    found = computed_constants(path.read_bytes())
    by_dtype = {values.dtype.name: values.tolist() for values in found.values()}
    assert [6, 4] in [values.tolist() for values in found.values()]
    weights = [[0, 0, 1.5, 0, 0], [0] * 5, [-2, 0, 0, 0, 0.25], [0] * 5]
    assert by_dtype["float32"] == by_dtype["float16"] == weights


def test_import_computes_nothing_of_it_again(tmp_path: Path) -> None:
    path = small_models.save_computed_tflite(tmp_path / "model.tflite")
    imported = import_model(path, {}, tmp_path)
    assert operators_of(imported.module) == ["relax.reshape", "relax.matmul"]
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, open_session("litert", path, 1).run(feeds))


def test_models_without_such_operators_have_none(tmp_path: Path) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite")
    assert computed_constants(path.read_bytes()) == {}
