"""Processors are kept awake inside the block, at the lowest priority, and left alone outside."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import psutil
import pytest

from harness.hardware import this_processor
from harness.machine import awake as awake_module
from harness.machine.awake import KeepAwake, spread_threads


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = this_processor()
    flags = (*processor.flags, "hypervisor")
    monkeypatch.setattr(awake_module, "this_processor", lambda: replace(processor, flags=flags))


def spinners() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children() if awake_module._SPINNER in child.cmdline()
    ]


def stopped(processes: list[psutil.Process]) -> bool:
    """Whether they stop in some seconds: of the lowest priority, they have to be run to do so."""
    deadline = time.monotonic() + 10
    while {process.status() for process in processes} != {psutil.STATUS_STOPPED}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.usefixtures("virtual")
def test_spinners_run_in_the_block_only() -> None:
    cpus = os.sched_getaffinity(0)
    awake = KeepAwake()
    found = spinners()
    try:
        assert len(found) == len(cpus)
        assert stopped(found)
        with awake:
            time.sleep(0.3)
            assert psutil.STATUS_STOPPED not in {child.status() for child in found}
            for child in found:
                assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
                assert len(child.cpu_affinity()) == 1
                assert os.getsid(child.pid) == os.getsid(0)
        assert stopped(found)
        assert os.sched_getaffinity(0) == cpus
    finally:
        awake.end()
    assert not spinners()


def test_nothing_is_started_on_real_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = this_processor()
    flags = tuple(flag for flag in processor.flags if flag != "hypervisor")
    monkeypatch.setattr(awake_module, "this_processor", lambda: replace(processor, flags=flags))
    before = len(spinners())
    with KeepAwake():
        assert len(spinners()) == before


def test_spreading_leaves_a_process_without_bound_threads_alone() -> None:
    before = os.sched_getaffinity(0)
    spread_threads()
    assert os.sched_getaffinity(0) <= before
    os.sched_setaffinity(0, before)
