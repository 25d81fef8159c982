"""Chooses a kernel's schedule: its best candidates are verified, then measured again, interleaved.

The best of many single measurements is biased towards the lucky ones; this one is not. Neither is
it of one moment: a machine that others use too is in another state some seconds later, and which of
two schedules is faster may depend on that, or on where in memory they lie. Those that are close are
compiled and measured once more after all kernels had theirs; only the rounds count in
which the machine was quick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import meta_schedule, record_json, tvm
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.database import Choice, kernel_identity
from harness.tuning.measurers.local import Measurer
from harness.tuning.sound_records import applied, parsed

_FINALISTS = 5
_ROUNDS = 8
_PASSES = 2
_CLOSE = 1.1
"""A finalist that took so many times as long as the best in the first pass is not measured
again."""
_SHARE = 0.01
"""Nor are kernels that take a smaller share of the network's time."""
_BEHIND = 1.25
"""A schedule this many times slower than the best records will not win, however lucky those
were."""

Finalist = tuple[list[object] | None, tvm.IRModule]
"""A record, as JSON, with its scheduled module; the default schedule has no record."""


@dataclass(frozen=True)
class Entry:
    """A kernel whose schedule is to be chosen: from its records, its default schedule, which took
    `default_seconds` if that is known, and the earlier choice."""

    kernel: KernelTask
    default: tvm.IRModule
    default_seconds: float | None
    before: Choice | None
    records: meta_schedule.database.Database


@dataclass(frozen=True)
class Outcome:
    """The winner, the number of finalists with wrong results, the number that accessed memory
    outside their arguments, and why nobody won if nobody did."""

    choice: Choice | None
    wrong: int
    unsafe: int = 0
    error: str = ""

    @property
    def seconds(self) -> float | None:
        """The winner's median."""
        return float(np.median(self.choice["seconds"])) if self.choice else None


def hold_finals(entries: Iterable[Entry], measurer: Measurer) -> Iterator[Outcome]:
    """The winner of each final comparison."""
    finals: list[_Final] = []

    def verified() -> Iterator[tuple[KernelTask, list[Candidate]]]:
        for entry in entries:
            finals.append(_Final(entry))
            yield finals[-1].kernel, finals[-1].candidates

    for at, standing in enumerate(measurer.finals(verified(), _ROUNDS)):
        finals[at].begin(standing)
    # Counts repeat exactly.
    for _ in range(1, _PASSES if measurer.cost == "seconds" else 1):
        total = sum(final.cost for final in finals)
        close = [
            final for final in finals if len(final.candidates) > 1 and final.cost >= _SHARE * total
        ]
        again = [(final.kernel, final.candidates) for final in close]
        standings = measurer.finals(again, _ROUNDS, verified=False)
        for final, standing in zip(close, standings, strict=True):
            final.go_on(standing)
    yield from (final.outcome for final in finals)


class _Final:
    """Finalists for one kernel's schedule, and the times in each pass of those that remain."""

    def __init__(self, entry: Entry) -> None:
        self.kernel = entry.kernel
        self._finalists = _finalists(entry)
        self._running = list(range(len(self._finalists)))
        self._passes: list[dict[int, list[float]]] = []
        self._wrong: dict[int, str] = {}
        self._unsafe: dict[int, str] = {}
        self._error = ""

    @property
    def candidates(self) -> list[Candidate]:
        """Those in the running."""
        return [Candidate(module=self._finalists[at][1]) for at in self._running]

    @property
    def cost(self) -> float:
        """The share of an inference of the best remaining finalist."""
        return self.kernel.calls * self._best

    def begin(self, standing: Standing | KernelFailed) -> None:
        """The first pass: sound finalists that are not far behind remain."""
        if isinstance(standing, KernelFailed):
            self._running, self._error = [], str(standing)
            return
        self._wrong, self._unsafe = standing.wrong, standing.unsafe
        found = (standing.unsafe, standing.wrong, standing.failed)
        reasons = [*(why for each in found for why in each.values()), "no candidate ran"]
        self._error = reasons[0]
        self._note(standing)
        most = _CLOSE * self._best
        self._running = [at for at in self._running if self._median(at) <= most]

    def go_on(self, standing: Standing | KernelFailed) -> None:
        """A later pass; one that nobody finished does not count."""
        if isinstance(standing, Standing) and any(standing.times):
            self._note(standing)

    def _note(self, standing: Standing) -> None:
        found = zip(self._running, standing.times, strict=True)
        self._passes.append({at: seconds for at, seconds in found if seconds is not None})
        self._running = list(self._passes[-1])

    @property
    def _best(self) -> float:
        return min((self._median(at) for at in self._running), default=0.0)

    def _median(self, at: int) -> float:
        return float(np.median(self._passes[0][at]))

    @property
    def outcome(self) -> Outcome:
        """The finalist with the least time beside the others, in the quicker half of all rounds: in
        the other half somebody else was busy on the machine, if anybody was."""
        if not self._running:
            return Outcome(None, len(self._wrong), len(self._unsafe), self._error)
        seconds = [[value for each in self._passes for value in each[at]] for at in self._running]
        times = np.log(seconds)
        rounds = times.mean(axis=0)
        quicker = np.argsort(rounds, kind="stable")[: (len(rounds) + 1) // 2]
        beside = np.median((times - rounds)[:, quicker], axis=1)
        winner = int(np.argmin(beside))
        record = self._finalists[self._running[winner]][0]
        choice: Choice = {"record": record, "seconds": seconds[winner]}
        return Outcome(choice, len(self._wrong), len(self._unsafe))


def _finalists(entry: Entry) -> list[Finalist]:
    """Different ones. A kernel without a choice has its default schedule: where that is far behind,
    it need not win a final to be fallen back on."""
    workload = entry.records.commit_workload(entry.kernel.module)
    best = list(entry.records.get_top_k(workload, _FINALISTS))
    # One record may be wildly wrong, and must not keep out those that would show it.
    most = _BEHIND * _seconds(best[len(best) // 2]) if best else math.inf
    best = [record for record in best if _seconds(record) <= most]
    if entry.before is not None and entry.before["record"] is not None:
        before = parsed(entry.before["record"], workload)
        best += [] if before is None else [before]
    finalists: dict[str, Finalist] = {}
    if entry.default_seconds is None or entry.default_seconds <= most:
        finalists[kernel_identity(entry.default)] = (None, entry.default)
    for record in best:
        schedule = applied(record, entry.kernel.module)
        if schedule is None:
            continue
        finalists.setdefault(kernel_identity(schedule.mod), (record_json(record), schedule.mod))
    return list(finalists.values())


def _seconds(record: meta_schedule.database.TuningRecord) -> float:
    return float(np.median([float(seconds) for seconds in record.run_secs]))
