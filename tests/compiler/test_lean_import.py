"""Processes that work for a sweep import no more of TVM than they use, and no PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES = (
    "harness.building.network",
    "harness.edges.compress",
    "harness.hardware.build_probe",
    "harness.hardware.roof_kernels",
    "harness.measure.remote_worker",
    "harness.measure.native_session",
    "harness.measure.tvm_session",
    "harness.models.frontends",
    "harness.tuning.measurers.board_worker",
    "harness.tuning.candidates.worker",
    "harness.tuning.servers.worker",
    "harness.tuning.tuner",
)
"""What children are started as, and what they import on the way."""


@pytest.mark.slow
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


def test_network_of_kernels_is_measured_without_tvm() -> None:
    """Its memory would be the network's."""
    script = "import harness.measure.native_session, sys; sys.exit('tvm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.slow
def test_tvm_is_as_it_would_be_otherwise_once_imported(tmp_path: Path) -> None:
    """What keeps the import lean is gone after it; a backend is there once a target needs it."""
    (tmp_path / "torch.py").touch()
    check = """if True:
        import gc, os, sys
        from harness.compiler.api import backends, target_of, tvm
        from tvm_ffi import registry
        import torch
        assert gc.isenabled()
        assert "TVM_DEVICE_BACKEND_AUTOLOAD" not in os.environ
        assert "tvm.runtime.disco" not in sys.modules and tvm.runtime.disco is None
        assert not hasattr(registry.list_global_func_names, "cache_clear")
        assert not backends.is_loaded("cuda")
        target_of({"kind": "llvm"})
        assert not backends.is_loaded("cuda")
        target_of({"kind": "cuda", "arch": "sm_80"})
        assert backends.is_loaded("cuda")
    """
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    subprocess.run(
        [sys.executable, "-c", check], env={**os.environ, "PYTHONPATH": search}, check=True
    )
