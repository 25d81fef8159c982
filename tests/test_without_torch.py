"""No process that works for a sweep imports PyTorch, which TVM does wherever it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES = (
    "harness.build",
    "harness.edges.compress",
    "harness.hardware.build_probe",
    "harness.hardware.roof_kernels",
    "harness.measure.remote_worker",
    "harness.measure.tvm_session",
    "harness.models.imported",
    "harness.tuning.board_worker",
    "harness.tuning.kernel_worker",
    "harness.tuning.remote_worker",
    "harness.tuning.tuner",
)
"""What children are started as, and what they import on the way."""


@pytest.mark.parametrize("module", PROCESSES)
def test_torch_is_not_imported(module: str, tmp_path: Path) -> None:
    """It would cost two seconds and 200 MB in each of them."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')\n")
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    found = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-500:]
