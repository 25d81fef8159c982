"""Kernels that are written with their schedule are no tuning tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from compiling import compiled, imported
from onnx import helper
from onnx_nodes import network
from sweeps import Heard, write_sweep

from harness.compiler.api import target_of
from harness.hardware import load_target
from harness.passes.fusion import kernels
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep
from harness.tuning.tasks import tasks_of

X = {"x": np.ones((5, 1, 8), np.float32)}
WEIGHTS = {name: np.full((1, 12, size), 0.1, np.float32) for name, size in (("w", 8), ("r", 4))}
GRU = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4)
NEGATED = helper.make_node("Relu", ["y"], ["z"])


def test_recurrent_kernels_are_left_out(tmp_path: Path) -> None:
    fused = compiled(imported(network([GRU, NEGATED], ["z"], X, WEIGHTS), tmp_path))
    target = target_of(load_target("x86-host").tvm.as_tvm())
    names = {task.name for task in tasks_of(fused, target)}
    assert names < {kernel.name for kernel in kernels(fused)}
    assert any("dense" in name or "matmul" in name for name in names)


def test_network_with_nothing_to_tune_is_measured(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path, configurations=[{"name": "tuned", "tune": {"trials": 4}}], baselines=[]
    )
    node = helper.make_node("TopK", ["x", "k"], ["y", "at"], largest=1)
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(3, 8)}
    model = network([node], ["y", "at:int64"], feeds, {"k": np.array([2])})
    (tmp_path / "good.onnx").write_bytes(model.SerializeToString())
    outcome = run_sweep(Sweep.read(path), tmp_path / "out", tmp_path / "tuning", Heard())
    (record,) = outcome.records
    assert record.status == "ok", record.reason
