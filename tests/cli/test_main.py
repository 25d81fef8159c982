"""The command line: help that teaches, errors in one line, exit codes that scripts can use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps import write_sweep

from harness.cli.main import COMMANDS
from harness.models.accuracy.metrics import METRICS


def layeredge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli.main", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name: str) -> None:
    found = layeredge(name, "--help")
    assert found.returncode == 0, found.stderr
    assert "Example" in found.stdout and f"layeredge {name}" in found.stdout


@pytest.mark.parametrize("arguments", [("run",), ("models", "list")])
def test_help_lists_every_metric(arguments: tuple[str, ...]) -> None:
    found = layeredge(*arguments, "--help").stdout
    assert all(f"\n  {name} " in found for name in [*METRICS, "module:function"])


def test_help_lists_every_command_without_importing_them() -> None:
    script = (
        "import sys; from harness.cli.main import main\n"
        "sys.argv = ['layeredge', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'tvm', 'pandas', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert all(name in found.stdout for name in COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "no command 'rnu'; did you mean 'run'?"),
        (["run", "missing.yaml", "--out", "o"], "missing.yaml: no such file"),
        (["run", "missing.yaml"], "Missing option '--out'"),
        (["report", "no-such-folder"], "no results there"),
        (["select", "no-such-folder"], "no results there"),
        (["compare", "no-such-folder", "other"], "no results there"),
        (["inspect", "fashion-resnt8"], "did you mean 'fashion-resnet8'"),
        (["models", "show", "magikca"], "did you mean 'magika'"),
        (["targets", "show", "haswel"], "did you mean 'haswell'"),
        (["devices", "list", "--tracker", "somewhere"], "expected HOST:PORT"),
        (["devices", "serve", "board"], "name one with --tracker"),
        (["devices", "tracker", "--host", "0.0.0.0"], "add --expose if that is intended"),
    ],
)
def test_wrong_input_is_exit_code_2_without_a_traceback(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    found = layeredge(*arguments, LAYEREDGE_CACHE=str(tmp_path))
    assert found.returncode == 2, found.stdout
    assert message in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in layeredge("--debug", "report", "no-such-folder").stderr


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    sweep = write_sweep(tmp_path)
    found = layeredge("run", str(sweep), "--out", str(tmp_path / "taken" / "out"))
    assert found.returncode == 2 and "Traceback" not in found.stderr
    assert "taken" in found.stderr
