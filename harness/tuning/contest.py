"""Chooses a kernel's schedule: its best candidates are verified, then measured again in turns.

The best of many single measurements is biased towards the lucky ones; this one is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.tuning.database import Choice, kernel_identity
from harness.tuning.measurer import Candidate, KernelFailed, KernelMeasurer, KernelTask
from harness.tvm_api import Schedule, meta_schedule, tvm

_CONTENDERS = 4
_ROUNDS = 15
_BEHIND = 1.25
"""A record this many times slower than the best one will not win, however lucky that one was."""


@dataclass(frozen=True)
class Outcome:
    """Who won, how many contenders computed something wrong, and why nobody won if nobody did."""

    choice: Choice | None
    wrong: int
    error: str = ""

    @property
    def seconds(self) -> float | None:
        """The winner's median."""
        return float(np.median(self.choice["seconds"])) if self.choice else None


def hold_contest(
    kernel: KernelTask,
    default: tvm.IRModule,
    before: Choice | None,
    records: meta_schedule.database.Database,
    measurer: KernelMeasurer,
) -> Outcome:
    """The best of the records of a kernel, its default schedule, and what was chosen before."""
    contenders = _contenders(kernel, default, before, records)
    measurer.turn_to(kernel)
    try:
        times, wrong = measurer.contest(
            [Candidate(module=module) for _, module in contenders], _ROUNDS
        )
    except KernelFailed as error:
        return Outcome(None, 0, str(error))
    finished = {at: seconds for at, seconds in enumerate(times) if seconds is not None}
    if not finished:
        return Outcome(None, len(wrong), next(iter(wrong.values()), "no candidate ran"))
    winner = min(finished, key=lambda at: float(np.median(finished[at])))
    return Outcome(
        {"record": contenders[winner][0], "seconds": finished[winner]},
        len(wrong),
    )


def _contenders(
    kernel: KernelTask,
    default: tvm.IRModule,
    before: Choice | None,
    records: meta_schedule.database.Database,
) -> list[tuple[list[object] | None, tvm.IRModule]]:
    """Records, as JSON, with their scheduled modules; different ones. The default schedule, which
    has no record, is always among them."""
    contenders: dict[str, tuple[list[object] | None, tvm.IRModule]] = {
        kernel_identity(default): (None, default)
    }
    workload = records.commit_workload(kernel.module)
    best = list(records.get_top_k(workload, _CONTENDERS))
    best = [record for record in best if _seconds(record) <= _BEHIND * _seconds(best[0])]
    if before is not None and before["record"] is not None:
        best.append(meta_schedule.database.TuningRecord.from_json(before["record"], workload))
    for record in best:
        schedule = Schedule(kernel.module)
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        contenders.setdefault(kernel_identity(schedule.mod), (list(record.as_json()), schedule.mod))
    return list(contenders.values())


def _seconds(record: meta_schedule.database.TuningRecord) -> float:
    return float(np.median([float(seconds) for seconds in record.run_secs]))
