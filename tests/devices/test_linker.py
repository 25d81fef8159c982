from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from harness.devices.linker import linker
from harness.errors import CellFailure


def test_linker_of_this_machine_is_its_own_compiler() -> None:
    assert linker(None) == linker(f"{platform.machine()}-linux-gnu") == shutil.which("g++")


def test_linker_of_another_machine_is_a_cross_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    program = tmp_path / "aarch64-linux-gnu-g++"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert linker("aarch64-linux-gnu") == str(program)


def test_missing_linkers_are_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CellFailure, match=r"apt-get install g\+\+$"):
        linker("aarch64-linux-gnu")
    with pytest.raises(CellFailure, match=r"apt-get install g\+\+-x86-64-linux-gnu$"):
        linker("x86_64-linux-gnu")
