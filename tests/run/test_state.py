"""Networks with state: what a sweep says of it, and that an exported network keeps it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml
from small_models import recurrent_step, save, save_counting_tflite
from sweeps import FUSED, Heard, write_sweep

from harness.deploy.folder import export
from harness.deploy.runner import Model
from harness.errors import InputError
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep

pytestmark = pytest.mark.slow


def run(folder: Path, model: dict[str, Any] | str, baselines: list[str]) -> tuple[Heard, Any]:
    path = write_sweep(folder, (), configurations=[FUSED], baselines=baselines)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"models": [model]}))
    heard = Heard()
    return heard, run_sweep(Sweep.read(path), folder / "out", folder / "tuning", heard)


def run_exported(folder: Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the network that was exported to `deploy`."""
    np.savez(folder / "given.npz", **given)  # type: ignore[arg-type]
    command = [sys.executable, "deploy/run.py", "given.npz", "found.npz"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    with np.load(folder / "found.npz") as found:
        return dict(found)


def test_exported_network_keeps_the_variables_of_a_file(tmp_path: Path) -> None:
    pytest.importorskip("tflite", reason="needs the extra: pip install 'layeredge[tflite]'")
    save_counting_tflite(tmp_path / "counting.tflite")
    heard, outcome = run(tmp_path, "./counting.tflite", [])
    (record,) = outcome.records
    assert record.status == "ok", record.reason
    assert heard.notes == [
        "model 'counting': its state is given and returned by each inference (y → before); an "
        "exported network keeps it"
    ]
    x = np.array([[[1, 2, 3]], [[1, 1, 1]], [[-5, 0, 0.5]]], np.float32)
    export(tmp_path / "out", record, tmp_path / "deploy")
    found = run_exported(tmp_path, {"x": x})
    np.testing.assert_array_equal(found["y"][:, 0], [[11, 22, 33], [12, 23, 34], [7, 23, 34.5]])
    np.testing.assert_array_equal(found["before"][0], [[10, 20, 30]])


def test_declared_state_is_zero_in_labelled_data_and_kept_when_exported(tmp_path: Path) -> None:
    path = save(recurrent_step(), tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator, nothing = np.random.default_rng(0), np.zeros((1, 6), np.float32)
    x = generator.standard_normal((12, 1, 6)).astype(np.float32)
    first = [session.run(["y"], {"x": each, "h": nothing})[0].argmax() for each in x]
    labels = np.array(first[:9] + [(each + 1) % 4 for each in first[9:]])
    np.savez(tmp_path / "data.npz", x=x, labels=labels)
    about = {"name": "step", "path": "./step.onnx", "state": {"h": "following"}}
    data = {"data": "./data.npz", "metric": "top1"}
    _, outcome = run(tmp_path, about | data, ["onnxruntime"])
    for record in outcome.records:
        assert record.status == "ok", record.reason
        assert record.accuracy is not None and record.accuracy.value == 0.75
    (record,) = [each for each in outcome.records if each.key.engine == "tvm"]
    assert record.verification is not None and record.verification.real_inputs
    export(tmp_path / "out", record, tmp_path / "deploy")
    found = run_exported(tmp_path, {"x": x})
    h = nothing
    for at, each in enumerate(x):
        y, h = session.run(["y", "following"], {"x": each, "h": h})
        np.testing.assert_allclose(found["y"][at], y, rtol=1e-4)
        np.testing.assert_allclose(found["following"][at], h, rtol=1e-4)
    one = run_exported(tmp_path, {"x": x[0]})
    np.testing.assert_allclose(one["following"], x[0], rtol=1e-6)
    model = Model(tmp_path / "deploy")
    model(x[0])["following"][:] = 1000  # the caller's, not the model's
    np.testing.assert_array_equal(model(x[1])["following"], found["following"][1])
    with pytest.raises(ValueError, match="'h' is state, which the model keeps; expected 'x'"):
        model(x[0], h=x[0])


def test_state_that_is_none_fails_the_cell_with_the_names_there_are(tmp_path: Path) -> None:
    save(recurrent_step(), tmp_path / "step.onnx")
    about = {"name": "step", "path": "./step.onnx", "state": {"h": "folowing"}}
    _, outcome = run(tmp_path, about, [])
    (record,) = outcome.records
    assert record.status == "failed"
    assert "state: no output 'folowing'; did you mean 'following'?" in str(record.reason)
    with pytest.raises(InputError):
        export(tmp_path / "out", record, tmp_path / "deploy")
