"""What some tests need of the machine; they are skipped, with the reason, where it is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.devices.emulated.board import require_board
from harness.devices.emulated.loop_throughput import INSTALL as INSTALL_LLVM
from harness.devices.emulated.loop_throughput import analyser_version
from harness.devices.graphics.pocl import INSTALL as INSTALL_POCL
from harness.devices.graphics.pocl import pocl_version
from harness.errors import CellSkipped


def _no_board() -> str:
    try:
        require_board()
    except CellSkipped as reason:
        return str(reason)
    return ""


needs_board = pytest.mark.skipif(bool(_no_board()), reason=_no_board())
needs_nvcc = pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="NVIDIA's CUDA compiler is not installed"
)
needs_pocl = pytest.mark.skipif(
    pocl_version() is None, reason=f"PoCL is not installed; {INSTALL_POCL}"
)
needs_llvm_mca = pytest.mark.skipif(
    analyser_version() is None, reason=f"llvm-mca is not installed; {INSTALL_LLVM}"
)
needs_fused_products = pytest.mark.skipif(
    not {"fma", "asimd"} & set(Path("/proc/cpuinfo").read_text().split()),
    reason="the processor does not fuse multiplication and addition, as ONNX Runtime's kernels do",
)
