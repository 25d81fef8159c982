"""A results folder has one run at a time, and nothing in it of runs that were killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.records.artifact import DESCRIPTION
from harness.run.results_folder import held, remove_leftovers

_HOLD = """
import sys, time
from pathlib import Path
from harness.run.results_folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_folder_is_refused_while_another_run_has_it_and_free_when_that_is_killed(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another run is writing to it"), held(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    with held(tmp_path):
        pass


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be written"), held(path):
            pass


def test_leftovers_of_killed_runs_go_and_finished_artifacts_stay(tmp_path: Path) -> None:
    finished = ["one", "one.reference", "two"]
    unfinished = ["half", "half.reference", ".one.abcd", "lost.reference"]
    for name in (*finished, *unfinished):
        folder = tmp_path / "artifacts" / name
        folder.mkdir(parents=True)
        if name not in ("half",):
            (folder / DESCRIPTION).write_text("{}")
    (tmp_path / "work" / "abc" / "kernels-x").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(each.name for each in (tmp_path / "artifacts").iterdir()) == finished
    assert not (tmp_path / "work").exists()
