from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import harness
from harness.machine.environment import (
    busy_processes,
    clock_warnings,
    container,
    cpu_seconds_of_others,
    environment,
    git_commit,
    governor,
    noise_warnings,
    turbo,
)
from harness.processes.python import run_python


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def test_environment_is_plain_data_that_says_what_is_installed() -> None:
    found = json.loads(json.dumps(environment()))
    assert found["versions"]["apache-tvm"] == version("apache-tvm")
    assert found["versions"]["numpy"] == version("numpy")
    assert found["layeredge"] == harness.__version__
    assert 0 < found["memory_free_mb"] <= found["memory_total_mb"]
    assert found["cores_usable"] <= found["cpus_usable"]
    assert len(found["load_average"]) == 3


def test_environment_loads_nothing_heavy_itself() -> None:
    script = (
        "from harness.machine.environment import environment; import sys;"
        "print(environment()['llvm']);"
        "assert not {'tvm', 'numpy', 'onnxruntime', 'torch'} & sys.modules.keys()"
    )
    assert run_python(["-c", script], seconds=60).startswith("unknown:")


def test_environment_names_llvm_when_tvm_is_loaded() -> None:
    import tvm

    assert environment()["llvm"] == tvm.target.codegen.llvm_version_major()


def test_governor_and_turbo_are_unknown_when_there_is_no_cpufreq(tmp_path: Path) -> None:
    assert governor(tmp_path) == turbo(tmp_path) == "unknown: no cpufreq"
    assert clock_warnings(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("intel_pstate/no_turbo", "0", "on"),
        ("intel_pstate/no_turbo", "1", "off"),
        ("cpufreq/boost", "1", "on"),
        ("cpufreq/boost", "0", "off"),
    ],
)
def test_turbo_is_read_from_either_driver(
    tmp_path: Path, path: str, text: str, expected: str
) -> None:
    write(tmp_path, f"sys/devices/system/cpu/{path}", text)
    assert turbo(tmp_path) == expected


def test_containers_without_power_supplies_have_no_battery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = FileNotFoundError(2, "No such file or directory", "/sys/class/power_supply")

    def as_in_a_container() -> None:
        raise missing

    monkeypatch.setattr("psutil.sensors_battery", as_in_a_container)
    assert clock_warnings(tmp_path) == []


def test_clock_warnings_name_the_governor_when_it_saves_power(tmp_path: Path) -> None:
    path = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    write(tmp_path, path, "powersave")
    (warning,) = clock_warnings(tmp_path)
    assert "'powersave'" in warning
    write(tmp_path, path, "performance")
    assert clock_warnings(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("proc/1/cgroup", "0::/kubepods/pod1", "kubepods"),
        ("proc/1/cgroup", "0::/init.scope", "none"),
    ],
)
def test_container_is_told_by_its_marks(
    tmp_path: Path, path: str, text: str, expected: str
) -> None:
    write(tmp_path, path, text)
    assert container(tmp_path) == expected


def test_commit_is_marked_when_a_tracked_file_differs(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    git("init", "--quiet")
    assert git_commit(tmp_path) is None
    write(tmp_path, "file", "one")
    write(tmp_path, "results/reference/results.csv", "one")
    git("add", "file", "results")
    git("commit", "--quiet", "--message", "one")
    commit = git_commit(tmp_path)
    assert commit is not None and len(commit) == 40
    write(tmp_path, "results/reference/results.csv", "two")
    assert git_commit(tmp_path) == commit, "what a run writes changes nothing of what it runs"
    write(tmp_path, "file", "two")
    assert git_commit(tmp_path) == f"{commit} modified"


def test_others_are_all_processes_but_this_family(tmp_path: Path) -> None:
    sleep = "import time; time.sleep(30)"
    start_orphan = (
        "import subprocess, sys;"
        f"print(subprocess.Popen([sys.executable, '-c', {sleep!r}], stdout=-3, stderr=-3).pid)"
    )
    # The process between ends at once, so its child is no descendant of this test.
    orphan = int(subprocess.check_output([sys.executable, "-c", start_orphan]))
    child = subprocess.Popen([sys.executable, "-c", sleep])
    try:
        others = {identifier for identifier, _ in cpu_seconds_of_others()}
    finally:
        os.kill(orphan, signal.SIGKILL)
        child.kill()
        child.wait()
    assert orphan in others
    assert not others & {os.getpid(), os.getppid(), child.pid}


def test_busy_processes_are_the_three_that_used_most() -> None:
    before = {(number, "job"): 10.0 for number in range(6)}
    after = {(number, "job"): 10.0 + number for number in range(6)} | {(9, "new"): 50.0}
    assert busy_processes(before, after, elapsed_seconds=2.0) == [
        "process 5 (job) uses 2.5 cores",
        "process 4 (job) uses 2.0 cores",
        "process 3 (job) uses 1.5 cores",
    ]
    assert busy_processes(before, after, elapsed_seconds=100.0) == []


def test_noise_warnings_are_single_lines() -> None:
    assert all("\n" not in warning for warning in noise_warnings(0.05))
