"""The processor as read from made-up /proc and /sys trees, and from the real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.hardware.processor import (
    quota_cores,
    read_processor,
    this_processor,
    throttled_periods,
)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two cores of two hyper-threads each: CPUs 0 and 2 are one core, 1 and 3 the other."""
    cpuinfo = "processor\t: 0\nmodel name\t: Test CPU 9000\nflags\t\t: fpu avx2 fma\n\n"
    write(tmp_path, "proc/cpuinfo", cpuinfo + cpuinfo.replace("9000", "other"))
    for cpu in range(4):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write(tmp_path, f"{folder}/topology/core_id", str(cpu % 2))
        write(tmp_path, f"{folder}/topology/physical_package_id", "0")
        for index, (level, kind, size) in enumerate(
            [(1, "Data", "48K"), (1, "Instruction", "64K"), (2, "Unified", "2M")]
        ):
            write(tmp_path, f"{folder}/cache/index{index}/level", str(level))
            write(tmp_path, f"{folder}/cache/index{index}/type", kind)
            write(tmp_path, f"{folder}/cache/index{index}/size", size)
    return tmp_path


def test_processor_counts_cores_not_threads(machine: Path) -> None:
    assert read_processor(machine, frozenset(range(4))).cores == 2
    assert read_processor(machine, frozenset({0, 2})).cores == 1
    assert read_processor(machine, frozenset({2, 3})).cores == 2


def test_processor_is_named_and_measured(machine: Path) -> None:
    processor = read_processor(machine, frozenset(range(4)))
    assert processor.name == "Test CPU 9000"
    assert processor.flags == ("avx2", "fma", "fpu")
    assert (processor.l1d_kb, processor.l2_kb, processor.l3_kb) == (48, 2048, None)


def test_processor_counts_each_cpu_when_the_topology_is_not_told(tmp_path: Path) -> None:
    assert read_processor(tmp_path, frozenset({0, 5, 6})).cores == 3


@pytest.mark.parametrize(
    ("limit", "quota", "cores"),
    [("150000 100000", 1.5, 1), ("max 100000", None, 2), ("50000 100000", 0.5, 1)],
)
def test_quota_limits_the_cores_when_a_group_above_has_one(
    machine: Path, limit: str, quota: float | None, cores: int
) -> None:
    write(machine, "proc/self/cgroup", "0::/service/job")
    write(machine, "sys/fs/cgroup/service/cpu.max", limit)
    write(machine, "sys/fs/cgroup/service/job/cpu.max", "max 100000")
    processor = read_processor(machine, frozenset(range(4)))
    assert processor.quota_cores == quota
    assert processor.cores == cores


def test_quota_is_found_when_the_groups_are_of_version_1(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "3:cpu,cpuacct:/job\n0::/")
    write(machine, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "120000")
    write(machine, "sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000")
    write(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
    write(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert quota_cores(machine) == 1.2


def test_quota_is_found_when_the_path_does_not_exist_inside_a_container(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/../outside")
    write(machine, "sys/fs/cgroup/cpu.max", "100000 100000")
    assert quota_cores(machine) == 1.0


def test_memory_is_the_groups_when_it_has_a_limit(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/job")
    write(machine, "sys/fs/cgroup/job/memory.max", "500000000")
    assert read_processor(machine, frozenset({0})).memory_mb == 500


def test_throttled_periods_are_read_from_the_group(machine: Path) -> None:
    assert throttled_periods(machine) == 0
    write(machine, "proc/self/cgroup", "0::/job")
    write(machine, "sys/fs/cgroup/job/cpu.stat", "usage_usec 1\nnr_periods 9\nnr_throttled 7")
    assert throttled_periods(machine) == 7


def test_this_processor_agrees_with_the_operating_system() -> None:
    processor = this_processor()
    assert 1 <= processor.cores <= len(os.sched_getaffinity(0))
    assert processor.memory_mb <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
