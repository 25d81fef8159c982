"""Choosing an engine by name: what applies, what is missing, what cannot be loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import small_models

from harness.baselines.registry import (
    ENGINES,
    applicable,
    baseline_named,
    open_session,
    reference_engine,
)
from harness.errors import CellFailure, CellSkipped, InputError
from harness.models.formats import SUFFIXES


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_models.save(small_models.convolutional(), tmp_path / "model.onnx")


def test_reference_runs_its_format_whatever_the_format() -> None:
    for format in SUFFIXES.values():
        assert applicable(reference_engine(format), format)


def test_applicable_is_false_when_the_engine_reads_other_files() -> None:
    assert not applicable("onnxruntime", "torch")
    assert not applicable("litert", "onnx")


def test_baseline_is_an_engine_on_the_model_or_on_the_quantized_network() -> None:
    assert baseline_named("litert") == ("litert", False)
    assert baseline_named("openvino-int8") == ("openvino", True)
    with pytest.raises(InputError, match="no baseline 'onnxruntim-int8'; did you mean"):
        baseline_named("onnxruntim-int8")
    with pytest.raises(InputError, match="no baseline 'litert-int8'"):  # it reads no ONNX
        baseline_named("litert-int8")


def test_open_names_the_nearest_engine_when_the_name_is_unknown(model: Path) -> None:
    with pytest.raises(InputError, match="no engine 'onxruntime'; did you mean 'onnxruntime'"):
        open_session("onxruntime", model, 1)
    with pytest.raises(InputError, match="no engine 'tvmm'"):
        applicable("tvmm", "onnx")


def test_open_skips_with_a_reason_when_the_engine_does_not_run_the_format(model: Path) -> None:
    with pytest.raises(CellSkipped, match="litert does not run onnx models, only tflite"):
        open_session("litert", model, 1)


@pytest.mark.parametrize("engine", ["openvino"])
def test_open_skips_with_the_command_to_install_when_the_extra_is_missing(
    model: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "harness.baselines.registry.find_spec",
        lambda name: None if name == ENGINES[engine].package else find_spec(name),
    )
    with pytest.raises(CellSkipped) as error:
        open_session(engine, model, 1)
    assert str(error.value) == "openvino is not installed: pip install 'layeredge[openvino]'"


def test_open_fails_in_one_line_when_the_engine_cannot_load_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08 no model")
    with pytest.raises(CellFailure) as error:
        open_session("onnxruntime", path, 1)
    assert "onnxruntime cannot load" in str(error.value)
    assert "\n" not in str(error.value)


def test_open_refuses_when_there_are_no_threads(model: Path) -> None:
    with pytest.raises(InputError, match="threads: expected at least 1, found 0"):
        open_session("onnxruntime", model, 0)


def test_open_says_no_such_file_when_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_session("onnxruntime", tmp_path / "gone.onnx", 1)
