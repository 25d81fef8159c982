"""A piece of Python in a process of its own: its output, or one line why there is none."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from harness.processes.python import ChildFailure, run_python


def run(code: str, seconds: float = 60) -> str:
    return run_python(["-c", code], seconds=seconds, environment={"OF_THE_TEST": "1"})


def test_output_is_returned_and_the_package_is_found() -> None:
    code = "import os, harness; print(os.environ['OF_THE_TEST'], bool(harness.__version__))"
    assert run(code) == "1 True\n"


def test_signal_is_named_when_native_code_crashes() -> None:
    with pytest.raises(ChildFailure, match="crashed with SIGSEGV"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")


def test_last_line_is_the_reason_when_it_raises() -> None:
    with pytest.raises(ChildFailure, match=r"^ValueError: no such thing$"):
        run("raise ValueError('no such thing')")


def test_exit_code_is_the_reason_when_nothing_was_said() -> None:
    with pytest.raises(ChildFailure, match="ended with exit code 7"):
        run("raise SystemExit(7)")


def test_limit_is_the_reason_when_it_hangs() -> None:
    with pytest.raises(ChildFailure, match=r"took more than 0\.3 s"):
        run("import time; time.sleep(60)", seconds=0.3)


@pytest.mark.slow
def test_child_ends_with_a_parent_that_is_killed() -> None:
    """As it would run on, and measure, after a sweep was killed."""
    code = "import time; time.sleep(60)"
    parent = (
        f"from harness.processes.python import run_python;run_python(['-c', {code!r}], seconds=60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        deadline = time.monotonic() + 30
        while not (below := psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(below, timeout=30)[1]


def test_modules_have_their_arguments() -> None:
    found = run_python(["-m", "json.tool", "--compact"], seconds=60, standard_input='{"a": 1}')
    assert found.split() == ['{"a":1}']
