"""The notebook does what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import PROJECT

NOTEBOOK = PROJECT / "examples" / "results.ipynb"


def cells(kind: str) -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


@pytest.mark.slow
def test_cells_run_in_their_order(tmp_path: Path) -> None:
    """In a process of their own, in an empty folder, as Jupyter's kernel would."""
    run = [sys.executable, "-W", "error::FutureWarning", "-"]
    done = subprocess.run(
        run,
        input="\n".join(cells("code")),
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "times as fast as unfused" in done.stdout and "class" in done.stdout
    assert (tmp_path / "deploy" / "run.py").exists()


def test_results_are_not_kept_in_it() -> None:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in found)
    assert all(cells("markdown")) and len(cells("code")) == 5
