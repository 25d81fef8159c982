"""The graphics processor in this machine, and the CUDA toolkit that compiles for one."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import CellFailure
from harness.specs.target import TargetSpec

_QUERY = "name,compute_cap,memory.total,driver_version"
_SECONDS = 20.0
_HOMES = ("/usr/local/cuda", "/usr/local/cuda-13.0", "/usr/lib/cuda")


@dataclass(frozen=True)
class GraphicsProcessor:
    """One as its driver names it, such as `NVIDIA H100 80GB HBM3`, with its compute capability,
    such as `9.0`, and its memory in 10^6 bytes."""

    name: str
    capability: str
    memory_mb: float
    driver: str

    def runs(self, spec: TargetSpec) -> bool:
        """Whether `spec` describes it: code for one architecture runs on no other, and the
        name of the device tells those of one architecture apart."""
        arch = f"sm_{self.capability.replace('.', '')}"
        fits = (spec.tvm.arch or "").rstrip("af") == arch
        key = spec.device.key
        return fits and (key is None or re.search(rf"\b{re.escape(key)}\b", self.name) is not None)


@cache
def graphics_processor() -> GraphicsProcessor | None:
    """The first that NVIDIA's driver lists, None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _parsed(done.stdout)


def _parsed(listed: str) -> GraphicsProcessor | None:
    """The first line of `nvidia-smi`'s list; its memory is in units of 2^20 bytes."""
    fields = [field.strip() for field in listed.partition("\n")[0].split(",")]
    if len(fields) != len(_QUERY.split(",")) or not fields[2].isdigit():
        return None
    name, capability, memory, driver = fields
    return GraphicsProcessor(name, capability, int(memory) * 2**20 / 1e6, driver)


def nvcc() -> Path:
    """NVIDIA's compiler. Raises CellFailure if there is none, with the package to install."""
    found = shutil.which("nvcc")
    if found is None:
        beside = [Path(home) / "bin" / "nvcc" for home in _homes()]
        found = next((str(path) for path in beside if path.exists()), None)
    if found is None:
        raise CellFailure(
            "no CUDA compiler here: 'nvcc' is not on the PATH; install NVIDIA's CUDA toolkit "
            "(on Debian: apt-get install nvidia-cuda-toolkit), or set CUDA_HOME to its folder"
        )
    return Path(found)


def library_folders() -> str:
    """The folders with CUDA's runtime library, as `LD_LIBRARY_PATH` has them: TVM loads it by its
    bare name."""
    found = [Path(home) / "lib64" for home in _homes()]
    packages = importlib.util.find_spec("nvidia")
    for root in packages.submodule_search_locations or () if packages else ():
        found += sorted(Path(root).glob("*/lib"))
    there = [str(folder) for folder in found if any(folder.glob("libcudart.so*"))]
    return os.pathsep.join(filter(None, [*there, os.environ.get("LD_LIBRARY_PATH")]))


def _homes() -> list[str]:
    return [*filter(None, [os.environ.get("CUDA_HOME")]), *_HOMES]
