from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.graphics import processor as graphics
from harness.devices.graphics.processor import GraphicsProcessor, graphics_processor, nvcc
from harness.errors import CellFailure
from harness.hardware import load_target

LISTED = "NVIDIA H100 80GB HBM3, 9.0, 81559, 580.159.04\n"


def test_graphics_processor_is_what_the_driver_lists_first() -> None:
    found = graphics._parsed(LISTED + "NVIDIA T4, 7.5, 15360, 580.159.04\n")
    assert found == GraphicsProcessor(
        "NVIDIA H100 80GB HBM3", "9.0", 81559 * 2**20 / 1e6, "580.159.04"
    )


@pytest.mark.parametrize("listed", ["", "No devices were found\n", "a, b, c, d\n"])
def test_graphics_processor_is_none_where_the_driver_lists_nothing(listed: str) -> None:
    assert graphics._parsed(listed) is None


@pytest.mark.parametrize(
    ("name", "capability", "target", "runs"),
    [
        ("NVIDIA H100 80GB HBM3", "9.0", "h100", True),
        ("NVIDIA H200", "9.0", "h100", False),
        ("NVIDIA A100-SXM4-40GB", "8.0", "a100", True),
        ("NVIDIA L4", "8.9", "l4", True),
        ("NVIDIA L40", "8.9", "l4", False),
        ("Tesla T4", "7.5", "t4", True),
        ("Orin", "8.7", "jetson-orin", True),
        ("NVIDIA GeForce RTX 4090", "8.9", "rtx-4090", True),
        ("NVIDIA GeForce RTX 4090", "8.9", "a100", False),
    ],
)
def test_graphics_processor_runs_its_own_description_only(
    name: str, capability: str, target: str, runs: bool
) -> None:
    assert GraphicsProcessor(name, capability, 1e5, "580").runs(load_target(target)) is runs


def test_missing_compiler_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(graphics, "_HOMES", ())
    monkeypatch.delenv("CUDA_HOME", raising=False)
    with pytest.raises(CellFailure, match=r"no CUDA compiler here: .*nvidia-cuda-toolkit"):
        nvcc()


def test_no_driver_is_no_graphics_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    graphics_processor.cache_clear()
    try:
        assert graphics_processor() is None
    finally:
        graphics_processor.cache_clear()
