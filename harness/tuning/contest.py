"""Chooses a kernel's schedule: its best candidates are verified, then measured again in turns.

The best of many single measurements is biased towards the lucky ones; this one is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.tuning.database import Choice, kernel_identity
from harness.tuning.kernel_process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurer import Measurer
from harness.tuning.turns import Standing
from harness.tvm_api import Schedule, meta_schedule, record_json, tvm

_CONTENDERS = 4
_ROUNDS = 15
_BEHIND = 1.25
"""What was this many times slower than the best record will not win, however lucky that one was."""

Contender = tuple[list[object] | None, tvm.IRModule]
"""A record, as JSON, with its scheduled module; the default schedule has no record."""


@dataclass(frozen=True)
class Entry:
    """A kernel whose schedule is to be chosen: from its records, its default schedule, which took
    `default_seconds` where that is known, and what was chosen before."""

    kernel: KernelTask
    default: tvm.IRModule
    default_seconds: float | None
    before: Choice | None
    records: meta_schedule.database.Database


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


def hold_contests(entries: Iterable[Entry], measurer: Measurer) -> Iterator[Outcome]:
    """Who wins each of the contests."""
    contests: list[list[Contender]] = []

    def candidates() -> Iterator[tuple[KernelTask, list[Candidate]]]:
        for entry in entries:
            contests.append(_contenders(entry))
            yield entry.kernel, [Candidate(module=module) for _, module in contests[-1]]

    for standing in measurer.contests(candidates(), _ROUNDS):
        yield _outcome(contests.pop(0), standing)


def _outcome(contenders: list[Contender], standing: Standing | KernelFailed) -> Outcome:
    if isinstance(standing, KernelFailed):
        return Outcome(None, 0, str(standing))
    finished = {at: seconds for at, seconds in enumerate(standing.times) if seconds is not None}
    wrong = standing.wrong
    if not finished:
        reasons = [*wrong.values(), *standing.failed.values(), "no candidate ran"]
        return Outcome(None, len(wrong), reasons[0])
    winner = min(finished, key=lambda at: float(np.median(finished[at])))
    return Outcome(
        {"record": contenders[winner][0], "seconds": finished[winner]},
        len(wrong),
    )


def _contenders(entry: Entry) -> list[Contender]:
    """Different ones. A kernel without a choice has its default schedule: where that is far behind,
    it need not win a contest to be fallen back on."""
    workload = entry.records.commit_workload(entry.kernel.module)
    best = list(entry.records.get_top_k(workload, _CONTENDERS))
    most = _BEHIND * _seconds(best[0]) if best else math.inf
    best = [record for record in best if _seconds(record) <= most]
    if entry.before is not None and entry.before["record"] is not None:
        record = meta_schedule.database.TuningRecord.from_json(entry.before["record"], workload)
        best.append(record)
    contenders: dict[str, Contender] = {}
    if entry.default_seconds is None or entry.default_seconds <= most:
        contenders[kernel_identity(entry.default)] = (None, entry.default)
    for record in best:
        schedule = Schedule(entry.kernel.module)
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
        contenders.setdefault(kernel_identity(schedule.mod), (record_json(record), schedule.mod))
    return list(contenders.values())


def _seconds(record: meta_schedule.database.TuningRecord) -> float:
    return float(np.median([float(seconds) for seconds in record.run_secs]))
