"""Records the machine and software of a result, and disturbances of measurements."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

import harness
from harness.baselines.registry import ENGINES
from harness.devices.graphics.processor import graphics_processor
from harness.files.installed import installed_version
from harness.hardware import this_processor
from harness.hardware.processor import read_text, throttled_periods, usable_cpus

_DISTRIBUTIONS = (
    "apache-tvm",
    "apache-tvm-ffi",
    "xgboost-cpu",
    "xgboost",
    "numpy",
    "onnx",
    "tflite",
    *(engine.package.replace("_", "-") for engine in ENGINES.values()),
)
_LOAD_PER_CORE = 0.5
_HEAVY_PROCESS_CORES = 0.2
_STEAL_PERCENT = 1.0

Process = tuple[int, str]  # its identifier and its name


def environment() -> dict[str, Any]:
    """This machine and this installation, as plain JSON data.

    An unknown fact is a text that starts with `unknown:` and has the reason. Memory is in 10^6
    bytes; the load average is over 1, 5 and 15 minutes.
    """
    processor, memory = this_processor(), psutil.virtual_memory()
    return {
        "cpu": processor.name,
        "cpu_flags_sha256": hashlib.sha256(" ".join(processor.flags).encode()).hexdigest()[:12],
        "cores_usable": processor.cores,
        "cpus_usable": len(usable_cpus()),
        "cpu_quota_cores": processor.quota_cores,
        "governor": governor(),
        "turbo": turbo(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "graphics_processor": _graphics(),
        "memory_total_mb": round(memory.total / 1e6),
        "memory_free_mb": round(memory.available / 1e6),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "hypervisor": "hypervisor" in processor.flags,
        "container": container(),
        "python": platform.python_version(),
        "versions": {name: found for name in _DISTRIBUTIONS if (found := installed_version(name))},
        "llvm": _llvm_version(),
        "layeredge": harness.__version__,
        "git_commit": git_commit(Path(harness.__file__).parents[1]),
    }


def _graphics() -> str | None:
    """The graphics processor here, with its driver."""
    found = graphics_processor()
    return f"{found.name}, driver {found.driver}" if found else None


def noise_warnings(watch_seconds: float = 0.3) -> list[str]:
    """Present causes of uneven measurements, one line each; empty on a quiet, steady machine."""
    return [*clock_warnings(), *disturbances(watch_seconds)]


def clock_warnings(root: Path = Path("/")) -> list[str]:
    """Settings and circumstances that let the clock frequency wander."""
    found = []
    if (policy := governor(root)) != "performance" and not policy.startswith("unknown"):
        found.append(f"the frequency governor is '{policy}'; 'performance' measures more evenly")
    if turbo(root) == "on":
        found.append("turbo is on: the clock depends on temperature and load")
    if _runs_on_battery():
        found.append("running on battery: the clock may be held low")
    return found


def _runs_on_battery() -> bool:
    try:
        battery = psutil.sensors_battery()
    except OSError:  # a container may have no /sys/class/power_supply
        return False
    return battery is not None and battery.power_plugged is False


def disturbances(watch_seconds: float = 0.3) -> list[str]:
    """Other work on this machine; processes are watched for a while.

    The calling process, its ancestors and its descendants do not count.
    """
    processor, load, found = this_processor(), os.getloadavg()[0], []
    if load > _LOAD_PER_CORE * processor.cores:
        found.append(f"the load average is {load:.1f} on {processor.cores} cores")
    found += _activity(watch_seconds)
    if throttled := throttled_periods():
        found.append(f"the CPU quota of this control group has run out {throttled} times so far")
    return found


def governor(root: Path = Path("/")) -> str:
    """The frequency governor of the first CPU, such as `performance`."""
    found = read_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return found or "unknown: no cpufreq"


def turbo(root: Path = Path("/")) -> str:
    """`on` or `off`, as the frequency driver says."""
    folder = root / "sys/devices/system/cpu"
    if disabled := read_text(folder / "intel_pstate/no_turbo"):
        return "off" if disabled == "1" else "on"
    if enabled := read_text(folder / "cpufreq/boost"):
        return "on" if enabled == "1" else "off"
    return "unknown: no cpufreq"


def container(root: Path = Path("/")) -> str:
    """The kind of container this process is in, or `none` where no sign of one is found."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    groups = read_text(root / "proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc") if name in groups), "none")


_BUT_RESULTS = ("--", ".", ":(exclude)results", ":(exclude)docs")


def git_commit(checkout: Path) -> str | None:
    """The commit of a checkout, with ` modified` after it where tracked files differ from it, those
    apart that a run itself may write anew: results and the pictures of them.

    None where `checkout` is no checkout, as in an installed wheel, or git is not there.
    """
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changes = _git(checkout, "status", "--porcelain", "--untracked-files=no", *_BUT_RESULTS)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit} modified" if changes else commit


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()


def _llvm_version() -> int | str:
    # TVM alone knows, and importing it for this would cost every caller half a second.
    if "tvm" not in sys.modules:
        return "unknown: TVM is not loaded in this process"
    from harness.hardware.llvm import llvm_version

    return llvm_version()


def _activity(watch_seconds: float) -> list[str]:
    """Other processes that keep a core busy, and time the hypervisor took away."""
    before, steal_before = cpu_seconds_of_others(), _steal_seconds()
    start = time.monotonic()
    time.sleep(watch_seconds)
    elapsed = time.monotonic() - start
    found = busy_processes(before, cpu_seconds_of_others(), elapsed)
    stolen = 100 * (_steal_seconds() - steal_before) / elapsed / len(usable_cpus())
    if stolen > _STEAL_PERCENT:
        found.append(f"the hypervisor took {stolen:.0f} % of the CPU time for other machines")
    return found


def busy_processes(
    before: dict[Process, float], after: dict[Process, float], elapsed_seconds: float
) -> list[str]:
    """A line for each of the three processes that used the most CPU time, if it was much."""
    cores = {
        process: (after[process] - before[process]) / elapsed_seconds
        for process in after.keys() & before.keys()
    }
    busiest = sorted(cores, key=lambda process: -cores[process])[:3]
    return [
        f"process {process[0]} ({process[1]}) uses {cores[process]:.1f} cores"
        for process in busiest
        if cores[process] > _HEAVY_PROCESS_CORES
    ]


def cpu_seconds_of_others() -> dict[Process, float]:
    """CPU time used so far by each process, less this one, its ancestors and its descendants."""
    this = psutil.Process()
    family = {this.pid, *(one.pid for one in [*this.parents(), *this.children(recursive=True)])}
    used = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times and process.pid not in family:
            used[process.pid, process.info["name"]] = times.user + times.system
    return used


def _steal_seconds() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
