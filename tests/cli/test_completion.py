"""The shell completes names where they are known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from example_results import example_results

from harness.cli.main import command


def completed(*arguments: str) -> list[str]:
    """What the last word can be."""
    *before, begun = arguments
    shell = BashComplete(command, {}, "layeredge", "_LAYEREDGE_COMPLETE")
    return [found.value for found in shell.get_completions(before, begun)]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("models", "show", "ma"), ["magika"]),
        (("models", "fetch", "magika", "ppocr"), ["ppocr-cls", "ppocr-det"]),
        (("targets", "show", "raspberry-pi-4"), ["raspberry-pi-4"]),
        (("targets", "new", "mine", "--like", "x86-h"), ["x86-host"]),
        (("inspect", "magi"), ["magika", "magi"]),  # or a file
        (("rep",), ["report"]),
        (("select", "nowhere", "--model", ""), []),
    ],
)
def test_names_are_completed(arguments: tuple[str, ...], names: list[str]) -> None:
    assert completed(*arguments) == names


def test_names_of_results_are_completed(tmp_path: Path) -> None:
    folder = str(example_results(tmp_path))
    assert completed("select", folder, "--model", "fashion-r") == ["fashion-resnet8"]
    assert completed("select", folder, "--engine", "o") == ["onnxruntime", "openvino"]
    assert completed("select", folder, "--configuration", "un") == ["unfused"]


def test_command_answers_the_shell() -> None:
    asked = {
        "_LAYEREDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": "layeredge sel",
        "COMP_CWORD": "1",
    }
    script = "import sys; sys.argv[0] = 'layeredge'; from harness.cli.main import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert found.stdout == "plain,select\n"
