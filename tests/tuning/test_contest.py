"""Who takes part in the contest for a kernel's schedule, and who wins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.tuning.contest import Entry, hold_contests
from harness.tuning.kernel_process import KernelTask
from harness.tuning.measurer import KernelMeasurer
from harness.tvm_api import ArgInfo, Schedule, meta_schedule, te, tvm

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})
SECONDS = 1e-6
"""What the record says that its schedule takes."""


@pytest.fixture(scope="module")
def measurer() -> Iterator[KernelMeasurer]:
    with KernelMeasurer(TARGET, threads=1) as found:
        yield found


def doubling() -> tvm.IRModule:
    source = te.placeholder((64,), name="source")
    result = te.compute((64,), lambda at: source[at] * 2.0, name="result")
    return tvm.IRModule({"main": te.create_prim_func([source, result])})


def wrong() -> tvm.IRModule:
    source = te.placeholder((64,), name="source")
    result = te.compute((64,), lambda at: source[at] * 3.0, name="result")
    return tvm.IRModule({"main": te.create_prim_func([source, result])})


def entry(default: tvm.IRModule, default_seconds: float | None) -> Entry:
    """A kernel with one record, of a schedule that splits its loop."""
    module = doubling()
    schedule = Schedule(module)
    schedule.split(schedule.get_loops("result")[0], [None, 8])
    records = meta_schedule.database.MemoryDatabase()
    records.commit_tuning_record(
        meta_schedule.database.TuningRecord(
            schedule.trace,
            records.commit_workload(module),
            [SECONDS],
            TARGET,
            ArgInfo.from_prim_func(module["main"]),
        )
    )
    return Entry(KernelTask("double", module, 1), default, default_seconds, None, records)


@pytest.mark.parametrize("seconds", [None, 1.1 * SECONDS])
def test_default_schedule_takes_part_where_it_may_win(
    measurer: KernelMeasurer, seconds: float | None
) -> None:
    """A default that computes something else shows itself by being thrown out."""
    (outcome,) = hold_contests([entry(wrong(), seconds)], measurer)
    assert outcome.wrong == 1
    assert outcome.choice is not None and outcome.choice["record"] is not None


def test_default_schedule_far_behind_takes_no_part(measurer: KernelMeasurer) -> None:
    (outcome,) = hold_contests([entry(wrong(), 2 * SECONDS)], measurer)
    assert outcome.wrong == 0
    assert outcome.choice is not None and outcome.choice["record"] is not None
