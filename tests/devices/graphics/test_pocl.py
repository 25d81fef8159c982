from __future__ import annotations

from pathlib import Path

import pytest
from machine_needs import needs_pocl

from harness.devices.graphics.pocl import pocl_version
from harness.machine.doctor import check_pocl


@needs_pocl
def test_pocl_is_named_with_its_version() -> None:
    version = pocl_version() or ""
    assert version.startswith("PoCL ") and version.removeprefix("PoCL ")[0].isdigit()
    check = check_pocl()
    assert (check.status, check.found, check.advice) == ("ok", version, "")


def test_pocl_that_is_not_there_is_no_fault_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    check = check_pocl()
    assert (check.status, check.found) == ("ok", "not installed")
    assert "apt install pocl-opencl-icd" in check.advice and "layeredge[opencl]" in check.advice
