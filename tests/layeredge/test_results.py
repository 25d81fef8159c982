from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from example_results import ROUNDS, example_results
from small_models import convolutional
from sweeps import FUSED, write_sweep

import layeredge
from harness.errors import InputError


def test_results_are_a_frame_and_arrays(tmp_path: Path) -> None:
    results = layeredge.load(example_results(tmp_path))
    frame = results.frame()
    assert list(frame["status"].value_counts()[["ok", "failed", "skipped"]]) == [8, 1, 1]
    assert {"batch", "threads", "latency_ms_median", "accuracy"} <= set(frame.columns)
    good = frame[frame["status"] == "ok"]
    for cell, median in good["latency_ms_median"].items():
        samples = results.samples(str(cell))
        assert len(samples) == ROUNDS
        assert np.median(samples) == pytest.approx(median, rel=0.02)
    assert [answer.deploy for answer in results.answers()] == ["OpenVINO", "tuned"]
    assert results.report().page.exists()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results there"):
        layeredge.load(tmp_path)
    with pytest.raises(InputError, match="no finished cell 'f00d'"):
        layeredge.load(example_results(tmp_path)).record("f00d")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        layeredge.lod  # noqa: B018


def test_import_takes_neither_pandas_nor_tvm() -> None:
    script = "import layeredge, sys; sys.exit(bool({'pandas', 'tvm', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.slow
def test_network_is_measured_exported_and_called(tmp_path: Path) -> None:
    """In samples one after the other too, by order and by name; the process may load PyTorch."""
    path = write_sweep(tmp_path, configurations=[FUSED])
    results = layeredge.run(path, tmp_path / "out", tuning_db=tmp_path / "tuning")
    (cell,) = results.frame().query("configuration == 'fused'").index
    folder = results.export(cell, tmp_path / "deploy")
    script = f"""
import numpy as np, sys
import layeredge
model = layeredge.Model({str(folder)!r})
assert "torch" not in sys.modules
x = np.random.default_rng(0).random((3, 1, 3, 8, 8), np.float32)
several, one = model(x), model(x=x[1])
assert several.shape == (3, 1, 4) and (several[1] == one).all()
assert (model({{"x": x[1]}}) == one).all()
assert list(model.run({{"x": x[0]}})) == ["y"] and model.median_ms(5) > 0
for wrong, hint in ((x.astype("float64"), ""), (x[..., :7], ""), (x[:, 0], "[3, 1, 3, 8, 8]")):
    try:
        model(wrong)
    except ValueError as error:
        assert "expected float32 [1, 3, 8, 8]" in str(error) and hint in str(error), error
    else:
        raise AssertionError
np.save({str(tmp_path / "y.npy")!r}, several)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(convolutional().SerializeToString())
    x = np.random.default_rng(0).random((3, 1, 3, 8, 8), np.float32)
    expected = np.stack([session.run(None, {"x": each})[0] for each in x])
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-4, atol=1e-5)
