"""A piece of Python in a process of its own: its output, or one line why there is none."""

from __future__ import annotations

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
