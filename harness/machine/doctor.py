"""Checks whether this machine and this installation can do the work, and gives advice if not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import psutil

from harness.baselines.registry import ENGINES
from harness.compiler.pair import INSTALL, installed_pair, is_known_pair, pair_problem
from harness.devices.emulated.loop_throughput import INSTALL as INSTALL_LLVM
from harness.devices.emulated.loop_throughput import analyser_version
from harness.devices.graphics.pocl import INSTALL as INSTALL_POCL
from harness.errors import InputError
from harness.files.cache import cache_folder
from harness.files.installed import installed_version
from harness.hardware import this_processor
from harness.machine.environment import clock_warnings, disturbances, governor, turbo
from harness.processes.python import ChildFailure, run_python
from harness.specs.documents import Frozen

Status = Literal["ok", "warning", "problem"]

OLDEST_PYTHON = (3, 10)
EXTRAS = {
    "torch": ("PyTorch models", ("torch",)),
    "tflite": ("TFLite models", ("tflite", "ai-edge-litert")),
    "parquet": ("export to Parquet", ("pyarrow",)),
    "text": ("text models", ("tokenizers",)),
    "opencl": ("GPU schedules verified on this machine's processor", ("pyopencl",)),
    "dask": ("compiling on a Dask cluster", ("distributed",)),
}
EXTRAS |= {
    engine.extra: (f"the {engine.title} baseline", (engine.package,))
    for engine in ENGINES.values()
    if engine.extra and engine.extra not in EXTRAS
}
# The names TVM looks for when it links a library, in its order.
COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")
_TIME_LIMIT_SECONDS = 180


class Check(Frozen):
    """One check: its status, its finding, and advice."""

    name: str
    status: Status
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Every check, in the order to read them; takes a few seconds and raises nothing."""
    # First, and alone: the checks below load the machine themselves.
    quiet = check_noise()
    slow: list[Callable[[], Check]] = [
        check_pair,
        check_build,
        check_xgboost,
        check_onnxruntime,
        check_pocl,
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        pair, build, xgboost, onnxruntime, pocl = pool.map(lambda check: check(), slow)
    return [
        check_python(sys.version_info[:2]),
        pair,
        check_compiler(),
        build,
        xgboost,
        onnxruntime,
        check_cores(),
        check_clock(),
        quiet,
        check_memory(psutil.virtual_memory().available),
        check_cache(),
        check_disk("free disk space here", Path.cwd()),
        *(check_extra(name) for name in EXTRAS),
        pocl,
        check_llvm_mca(),
    ]


def check_python(found: tuple[int, int]) -> Check:
    """The interpreter's version."""
    good = found >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check(
        name="Python",
        status="ok" if good else "problem",
        found=platform.python_version(),
        advice="" if good else f"install Python {oldest} or newer",
    )


def check_pair() -> Check:
    """TVM and its ffi library, run in a child process: a wrong pair crashes."""
    name = "TVM and its ffi library"
    if problem := pair_problem():
        return Check(name=name, status="problem", found=problem, advice=INSTALL)
    if not is_known_pair():
        advice = f"it came through a first test, but another pair was verified: {INSTALL}"
        return Check(name=name, status="warning", found=installed_pair(), advice=advice)
    return Check(name=name, status="ok", found=installed_pair())


def check_compiler() -> Check:
    """The C compiler TVM links libraries with: `CXX` or `CC` if set, else the first on the path."""
    named = os.environ.get("CXX") or os.environ.get("CC")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, COMPILERS)), None)
    if found:
        return Check(name="C compiler", status="ok", found=found)
    return Check(
        name="C compiler",
        status="problem",
        found=f"CXX or CC names '{named}', which is not there" if named else "none on the path",
        advice="on Debian or Ubuntu: sudo apt install g++",
    )


def check_build() -> Check:
    """A kernel built for this processor, linked, loaded and run in a child process."""
    name = "compile and run a kernel"
    try:
        with tempfile.TemporaryDirectory(prefix="layeredge-doctor-") as folder:
            arguments = ["-m", "harness.hardware.build_probe", folder]
            run_python(arguments, seconds=_TIME_LIMIT_SECONDS)
    except (ChildFailure, OSError) as error:
        advice = "see the checks above; if they are ok, report this with `layeredge doctor --json`"
        return Check(name=name, status="problem", found=str(error), advice=advice)
    return Check(name=name, status="ok", found="the result is right")


def check_xgboost() -> Check:
    """XGBoost, whose regression trees are the tuner's cost model."""
    return _check_import("xgboost", "pip install xgboost-cpu; on Debian also: apt install libgomp1")


def check_onnxruntime() -> Check:
    """ONNX Runtime, the reference that outputs are verified against, and the baseline."""
    return _check_import("onnxruntime", "pip install onnxruntime")


def check_cores() -> Check:
    """Physical cores this process may use."""
    processor = this_processor()
    quota = (
        f", limited to a CPU quota of {processor.quota_cores:g}" if processor.quota_cores else ""
    )
    single = processor.cores == 1
    return Check(
        name="cores",
        status="warning" if single else "ok",
        found=f"{processor.cores} usable, {processor.name}{quota}",
        advice="measuring shares the only core with everything else" if single else "",
    )


def check_clock() -> Check:
    """The frequency governor and turbo: whether the clock may wander."""
    warnings = clock_warnings()
    return Check(
        name="clock",
        status="warning" if warnings else "ok",
        found="; ".join(warnings) or f"governor {governor()}, turbo {turbo()}",
        advice="sudo cpupower frequency-set --governor performance" if warnings else "",
    )


def check_noise() -> Check:
    """Other work of the machine."""
    found = disturbances()
    return Check(
        name="a quiet machine",
        status="warning" if found else "ok",
        found="; ".join(found) or "nothing else is running",
        advice="stop other work before measuring" if found else "",
    )


def check_memory(available_bytes: float) -> Check:
    """Free memory."""
    return _check_room(
        "free memory", available_bytes, enough=2e9, least=0.5e9, advice="close other programs"
    )


def check_cache() -> Check:
    """The cache folder: that it can be written, and has room for models and tuning records."""
    try:
        folder = cache_folder()
    except InputError as error:
        return Check(name="cache folder", status="problem", found=str(error))
    return check_disk("cache folder", folder)


def check_disk(name: str, folder: Path) -> Check:
    """Free space on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    advice = f"free some space on the disk of {folder}"
    check = _check_room(name, free, enough=2e9, least=0.2e9, advice=advice)
    return check.model_copy(update={"found": f"{check.found} at {folder}"})


def check_extra(extra: str) -> Check:
    """An optional part; one that is not there is no fault."""
    purpose, packages = EXTRAS[extra]
    missing = [package for package in packages if installed_version(package) is None]
    return Check(
        name=f"extra '{extra}'",
        status="ok",
        found=f"not installed: {', '.join(missing)}" if missing else "installed",
        advice=f"for {purpose}: pip install 'layeredge[{extra}]'" if missing else "",
    )


def check_pocl() -> Check:
    """PoCL, found in a child process as other drivers of OpenCL are loaded beside it; one that is
    not there is no fault."""
    code = "from harness.devices.graphics.pocl import pocl_version; print(pocl_version() or '')"
    try:
        found = run_python(["-c", code], seconds=_TIME_LIMIT_SECONDS).strip()
    except ChildFailure as error:
        return Check(name="PoCL", status="warning", found=str(error), advice=INSTALL_POCL)
    advice = "" if found else f"to verify GPU schedules without the GPU, {INSTALL_POCL}"
    return Check(name="PoCL", status="ok", found=found or "not installed", advice=advice)


def check_llvm_mca() -> Check:
    """LLVM's machine code analyser; one that is not there is no fault."""
    found = analyser_version()
    advice = "" if found else f"to estimate how fast Arm kernels' loops could run, {INSTALL_LLVM}"
    return Check(name="llvm-mca", status="ok", found=found or "not installed", advice=advice)


def _check_import(module: str, advice: str) -> Check:
    code = f"import {module}; print({module}.__version__)"
    try:
        found = run_python(["-c", code], seconds=_TIME_LIMIT_SECONDS).strip()
    except ChildFailure as error:
        return Check(name=module, status="problem", found=str(error), advice=advice)
    return Check(name=module, status="ok", found=found)


def _check_room(name: str, free: float, *, enough: float, least: float, advice: str) -> Check:
    status: Status = "ok" if free >= enough else "warning" if free >= least else "problem"
    return Check(
        name=name,
        status=status,
        found=f"{free / 1e9:.1f} GB free",
        advice="" if status == "ok" else f"{advice}; {enough / 1e9:g} GB are comfortable",
    )
