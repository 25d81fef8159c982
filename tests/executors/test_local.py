from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.graphics.processor import GraphicsProcessor
from harness.executors import local
from harness.executors.table import executor_of, placed
from harness.hardware import load_target


def test_target_is_static_where_its_graphics_processor_is_not_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "graphics_processor", lambda: None)
    assert placed(load_target("a100")).device.kind == "static"
    here = GraphicsProcessor("NVIDIA A100-SXM4-40GB", "8.0", 42949.7, "580")
    monkeypatch.setattr(local, "graphics_processor", lambda: here)
    assert placed(load_target("a100")) == load_target("a100")
    assert placed(load_target("h100")).device.kind == "static"


def test_processors_stay_where_their_description_says() -> None:
    assert placed(load_target("znver4")) == load_target("znver4")


def test_children_find_the_runtime_library_only_where_they_need_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libcudart.so.13").touch()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = executor_of(load_target("h100")).environment()["LD_LIBRARY_PATH"]
    assert found.startswith(str(tmp_path / "lib64"))
    assert executor_of(load_target("znver4")).environment() == {
        "TVM_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
    }
