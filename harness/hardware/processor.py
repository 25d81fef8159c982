"""This machine's processor as the operating system describes it; nothing here needs TVM."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """The processor as this process may use it.

    `cores` are physical cores: hyper-threads of one core share its SIMD units, so a second thread
    on it adds next to nothing to dense arithmetic. `quota_cores` is the CPU time a control group
    grants, in cores, or None where there is no limit. Caches are those of the first core, in units
    of 1024 bytes; the L3 is one instance of it, shared by several cores. Memory is the part that
    the control groups leave of the machine's, in 10^6 bytes.
    """

    name: str
    flags: tuple[str, ...]
    cores: int
    quota_cores: float | None
    l1d_kb: float | None
    l2_kb: float | None
    l3_kb: float | None
    memory_mb: float


@cache
def this_processor() -> Processor:
    """This machine's processor, read once per process."""
    return read_processor(Path("/"), usable_cpus())


def usable_cpus() -> frozenset[int]:
    """The logical CPUs this process may be scheduled on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def read_processor(root: Path, cpus: frozenset[int]) -> Processor:
    """Read the processor from the /proc and /sys trees below `root`, for the given logical CPUs."""
    import psutil

    described = _cpuinfo(root)
    quota = quota_cores(root)
    cores = _physical_cores(root, cpus)
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    sizes = _cache_sizes_kb(root, min(cpus))
    limits = [
        *_group_files(root, "memory.max"),
        *_group_files(root, "memory.limit_in_bytes", controller="memory"),
    ]
    granted = [int(limit) for limit in limits if limit.isdigit()]
    memory_bytes = min([psutil.virtual_memory().total, *granted])
    return Processor(
        name=described.get("model name") or platform.machine(),
        flags=tuple(sorted((described.get("flags") or described.get("Features") or "").split())),
        cores=cores,
        quota_cores=quota,
        l1d_kb=sizes.get(1),
        l2_kb=sizes.get(2),
        l3_kb=sizes.get(3),
        memory_mb=memory_bytes / 1e6,
    )


def quota_cores(root: Path = Path("/")) -> float | None:
    """CPU time granted by the control groups above this process, in cores; None means no limit."""
    quotas = []
    for text in _group_files(root, "cpu.max"):
        limit, period = text.split()
        if limit != "max":
            quotas.append(int(limit) / int(period))
    limits = _group_files(root, "cpu.cfs_quota_us", controller="cpu")
    periods = _group_files(root, "cpu.cfs_period_us", controller="cpu")
    quotas += [
        int(limit) / int(period)
        for limit, period in zip(limits, periods, strict=True)
        if int(limit) > 0
    ]
    return min(quotas, default=None)


def throttled_periods(root: Path = Path("/")) -> int:
    """How often the control groups above this process have run out of their CPU quota so far."""
    texts = [*_group_files(root, "cpu.stat"), *_group_files(root, "cpu.stat", controller="cpu")]
    lines = [line.split() for text in texts for line in text.splitlines()]
    return max((int(line[1]) for line in lines if line[0] == "nr_throttled"), default=0)


def read_text(path: Path) -> str | None:
    """The stripped text of a small system file, or None where it is missing or not readable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _cpuinfo(root: Path) -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo."""
    first = (read_text(root / "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _physical_cores(root: Path, cpus: frozenset[int]) -> int:
    """How many distinct cores the logical CPUs sit on; each counts as one where it is not told."""
    seen = set()
    for cpu in cpus:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        core = read_text(topology / "core_id")
        seen.add((read_text(topology / "physical_package_id"), core) if core else ("cpu", cpu))
    return len(seen)


def _cache_sizes_kb(root: Path, cpu: int) -> dict[int, float]:
    """Size by level of the data caches of one logical CPU."""
    units = {"K": 1.0, "M": 1024.0}
    sizes: dict[int, float] = {}
    for index in (root / f"sys/devices/system/cpu/cpu{cpu}/cache").glob("index*"):
        size, level = read_text(index / "size"), read_text(index / "level")
        if size and level and read_text(index / "type") != "Instruction":
            sizes[int(level)] = float(size[:-1]) * units[size[-1]]
    return sizes


def _group_files(root: Path, name: str, controller: str = "") -> list[str]:
    """The texts of a control-group file, from this process's own group up to the top.

    `controller` names a version-1 hierarchy; without it the unified version-2 one is read. In a
    container the path told by the kernel may not exist below the mount; its top then counts.
    """
    mount = root / "sys/fs/cgroup" / controller
    own = next(_group_paths(root, controller), "/").strip("/")
    folders = [mount / own, *(mount / own).parents]
    inside = [folder for folder in folders if folder == mount or mount in folder.parents]
    return [text for folder in inside if (text := read_text(folder / name))]


def _group_paths(root: Path, controller: str) -> Iterator[str]:
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            yield path
