from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import PROJECT

import harness.compiler.pair
from harness.cli.doctor import command
from harness.compiler.pair import KNOWN_PAIR, check_tvm_pair, pair_problem
from harness.errors import InputError
from harness.machine import doctor
from harness.machine.doctor import (
    Check,
    check_compiler,
    check_memory,
    check_pair,
    check_python,
    examine,
)
from harness.processes.python import ChildFailure, run_python

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_child_python_returns_what_the_child_printed() -> None:
    code = "import harness, os, sys; print(harness.__name__, os.environ['X'], sys.stdin.read())"
    printed = run_python(["-c", code], seconds=30, standard_input="in", environment={"X": "y"})
    assert printed == "harness y in\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (CRASH, "^crashed with SIGSEGV$"),
        ("raise ValueError('why')", "^ValueError: why$"),
        ("raise SystemExit(3)", "^ended with exit code 3$"),
        ("import time; time.sleep(60)", "^took more than 0.5 s$"),
    ],
)
def test_child_python_says_how_the_child_ended(code: str, message: str) -> None:
    with pytest.raises(ChildFailure, match=message):
        run_python(["-c", code], seconds=0.5 if "sleep" in code else 30)


@pytest.mark.slow
def test_pair_works_here_and_is_probed_only_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = check_tvm_pair()
    assert version("apache-tvm") in pair and version("apache-tvm-ffi") in pair
    monkeypatch.setattr(harness.compiler.pair, "_PROBE", CRASH)
    assert check_tvm_pair() == pair
    problem = pair_problem()
    assert problem is not None and "SIGSEGV" in problem


def test_pair_is_refused_with_the_versions_to_install_when_it_crashes(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.compiler.pair, "_PROBE", CRASH)
    for _ in range(2):  # a failure leaves no stamp
        with pytest.raises(InputError) as raised:
            check_tvm_pair()
    for name, number in KNOWN_PAIR.items():
        assert f"{name}=={number}" in str(raised.value)
    assert check_pair().status == "problem"


def test_pair_is_the_one_the_project_pins() -> None:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    for name, number in KNOWN_PAIR.items():
        assert f'"{name}=={number}"' in text


def test_pair_is_a_warning_when_it_works_but_was_not_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harness.compiler.pair, "_PROBE", "pass")
    assert check_pair().status == "ok"
    monkeypatch.setitem(KNOWN_PAIR, "apache-tvm", "0.99.0")
    assert check_pair().status == "warning"


def test_extras_are_those_of_the_project() -> None:
    section = (
        (PROJECT / "pyproject.toml")
        .read_text(encoding="utf-8")
        .split("[project.optional-dependencies]")[1]
    )
    declared = dict(re.findall(r"^(\w+) = \[(.*?)\]$", section.split("\n[")[0], re.M))
    packages = {
        name: tuple(re.findall(r'"([\w-]+)', requirements))
        for name, requirements in declared.items()
        if name != "test"
    }
    assert packages == {name: packages for name, (_, packages) in doctor.EXTRAS.items()}


def test_compiler_is_a_problem_when_the_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_compiler()
    assert (check.status, check.found) == ("problem", "none on the path")
    assert "apt install g++" in check.advice
    (tmp_path / "clang").write_text("#!/bin/sh\n")
    (tmp_path / "clang").chmod(0o755)
    assert check_compiler().found == str(tmp_path / "clang")


def test_compiler_is_a_problem_when_the_variable_names_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in check_compiler().found
    assert check_compiler().status == "problem"


@pytest.mark.slow
def test_build_is_a_problem_when_the_compiler_does_not_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "broken"))
    assert doctor.check_build().status == "problem"


@pytest.mark.parametrize(("found", "status"), [((3, 9), "problem"), ((3, 10), "ok")])
def test_python_is_a_problem_when_too_old(found: tuple[int, int], status: str) -> None:
    assert check_python(found).status == status


@pytest.mark.parametrize(("free", "status"), [(8e9, "ok"), (1e9, "warning"), (1e8, "problem")])
def test_memory_is_judged_by_what_is_free(free: float, status: str) -> None:
    assert check_memory(free).status == status


def test_cache_is_a_problem_when_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path / "file"))
    check = doctor.check_cache()
    assert check.status == "problem"
    assert "LAYEREDGE_CACHE" in check.found


def test_analyser_that_is_missing_is_no_fault_and_comes_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.check_llvm_mca()
    assert (check.status, check.found) == ("ok", "not installed")
    assert re.search("apt install .*llvm", check.advice)


@pytest.mark.slow
def test_everything_is_examined_on_this_machine() -> None:
    checks = {check.name: check for check in examine()}
    for name in ("TVM and its ffi library", "compile and run a kernel", "xgboost", "onnxruntime"):
        assert checks[name].status == "ok", checks[name]
    assert checks["llvm-mca"].found.startswith("llvm-mca ") or checks["llvm-mca"].advice
    assert {f"extra '{name}'" for name in doctor.EXTRAS} <= checks.keys()
    assert all(check.advice for check in checks.values() if check.status != "ok")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warning", 0), ("problem", 1)])
def test_command_ends_with_1_only_when_there_is_a_problem(
    status: doctor.Status, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [Check(name="a", status="ok", found="b"), _check(status)]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    shown = CliRunner().invoke(command)
    assert shown.exit_code == code
    assert "do [this]" in shown.output
    printed = CliRunner().invoke(command, ["--json"])
    assert printed.exit_code == code
    assert [Check.model_validate(item) for item in json.loads(printed.output)] == checks


def _check(status: doctor.Status) -> Check:
    return Check(name="thing", status=status, found="[found]", advice="do [this]")
