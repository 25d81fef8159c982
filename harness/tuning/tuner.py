"""Tunes the kernels of one network: MetaSchedule's search, an XGBoost cost model, our measuring.

Rounds go to the kernel with most to gain; every trial is kept in the target's database; at the end
the best candidates of each kernel meet in an interleaved final, and its winner is chosen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.compiler.api import (
    ArgInfo,
    intrinsics_of,
    meta_schedule,
    record_json,
    trace_json,
    tvm,
)
from harness.compiler.patches import load_tensor_intrinsics
from harness.errors import CellFailure
from harness.records.record import StoppedBy, Tuning, TuningPoint
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import Tune
from harness.tuning.budget import Budget
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.database import (
    EXAMPLES,
    Choice,
    Spent,
    TuningDatabase,
    kernel_identity,
    network_identity,
)
from harness.tuning.finals import Entry, hold_finals
from harness.tuning.measurers.local import KernelMeasurer, Measurer
from harness.tuning.progress import Listener, TuningProgress
from harness.tuning.search.cost_model import CostModel
from harness.tuning.search.examples import Examples
from harness.tuning.search.proposals import KernelSearch

_STALE_ROUNDS = 6
"""A kernel whose best time has not improved for this many rounds gets no more."""
_IMPROVEMENT = 0.99
_FIRST_ROUND = 8.0
_DEFAULT_SAMPLES = 3
_EXPERIENCED = 300
"""So many measured schedules, and the cost model is trusted with a kernel that it does not know."""
_LIKELY = 10
"""How many schedules of a kernel are measured first then, at most."""
_LEAST_LIKELY = 4
_OPEN_SEARCHES = 12
"""How many kernels' searches are held at a time: each remembers every schedule that it proposed."""


@dataclass
class _Task:
    """One kernel being tuned."""

    kernel: KernelTask
    identity: str
    default: tvm.IRModule
    earlier: Spent
    default_seconds: float | None = None
    best: float | None = None
    spent: Spent = field(default_factory=Spent)
    search: KernelSearch | None = None
    started: bool = False
    stale_rounds: int = 0
    wrong: int = 0
    unsafe: int = 0
    finished: bool = False
    last_error: str = ""

    @property
    def promise(self) -> float:
        """The possible gain of another round, in seconds of the network's latency: its share,
        halved with each round that gained nothing, and counted for more in the first, which gains
        most."""
        share = self.kernel.calls * (self.best or 0.0)
        return share * (0.5**self.stale_rounds if self.started else _FIRST_ROUND)


class Tuner:
    """Tunes the kernels of one network within a budget.

    The budget counts earlier runs, see `Budget.after`. Candidates are timed on this
    machine unless `measurer` runs them elsewhere or has another cost, which "seconds" below
    means then. `seed` decides every random choice of the search; measurements are
    not repeatable, nor is the outcome.
    """

    def __init__(
        self,
        tasks: Sequence[KernelTask],
        target: tvm.target.Target,
        threads: int,
        database: TuningDatabase,
        tune: Tune,
        seed: int,
        listener: Listener,
        measurer: Measurer | None = None,
    ) -> None:
        load_tensor_intrinsics(intrinsics_of(target))
        self._target = target
        self._threads = threads
        self._measurer = measurer or KernelMeasurer(target, threads)
        self._database = database
        self._listener = listener
        self._random = np.random.default_rng(seed)
        self._started = time.monotonic()
        spent = database.spent()
        chosen = self._chosen_before = database.chosen()
        self._leaders: dict[str, Choice] = {}
        """The best record of each kernel that this run has measured."""
        self._open: list[_Task] = []
        """Tasks with a search, the one that was busy last at the end."""
        self._tasks = []
        for kernel in tasks:
            identity = kernel_identity(kernel.module)
            default = schedule_untuned(kernel.module, target, threads)
            task = _Task(kernel, identity, default, spent[identity])
            if identity in chosen:
                task.best = float(np.median(chosen[identity]["seconds"]))
            self._tasks.append(task)
        identities = [task.identity for task in self._tasks]
        self._network = network_identity(identities)
        self._budget = Budget.after(tune, identities, spent, database.spent(self._network))
        self._wanted = self._budget.left > 0
        self._reused = sum(task.identity in chosen for task in self._tasks)
        self._curve: list[TuningPoint] = []
        self._examples = Examples.read(database.folder / EXAMPLES)
        self._cost_model = CostModel(self._examples, seed, threads)

    def run(self) -> Tuning:
        """Tune until the budget is spent or nothing improves any more, then choose.

        On KeyboardInterrupt all measurements are in the database, and the exception propagates.
        Raises CellFailure when nothing at all could be measured.
        """
        with self._measurer as measurer:
            self._measure_defaults(measurer)
            self._note_point()
            try:
                while self._budget.left > 0 and (task := self._next()) is not None:
                    self._round(task, measurer)
            finally:
                self._examples.write(self._database.folder / EXAMPLES)
            self._choose(measurer)
        return self._outcome()

    def _measure_defaults(self, measurer: Measurer) -> None:
        """Time the default schedule of each kernel that has none chosen yet: the starting point of
        tuning, and the distribution of the network's time."""
        tasks = [task for task in self._tasks if task.best is None]
        entries = ((task.kernel, [Candidate(module=task.default)]) for task in tasks)
        standings = measurer.finals(entries, _DEFAULT_SAMPLES, verified=False)
        for task, standing in zip(tasks, standings, strict=True):
            if isinstance(standing, KernelFailed):
                task.last_error = str(standing)
            elif (seconds := standing.times[0]) is not None:
                task.best = task.default_seconds = float(np.median(seconds))
            else:
                task.last_error = standing.failed.get(0, "its default schedule did not run")

    def _next(self) -> _Task | None:
        open_tasks = [task for task in self._tasks if not task.finished]
        return max(open_tasks, key=lambda task: task.promise, default=None)

    def _round(self, task: _Task, measurer: Measurer) -> None:
        """One round of search and trials on one kernel."""
        started = time.monotonic()
        cost = Spent()
        try:
            search = self._search(task)
            try:
                candidates = search.propose()
            except RuntimeError as error:  # TVM cannot go on with this kernel; others can
                task.last_error = str(error)
                candidates = []
            if self._budget.in_trials:
                candidates = candidates[: int(self._budget.left)]
            if not candidates:
                task.finished = True
                return
            best_before = task.best
            results = self._measure_all(task, search, candidates, measurer, cost)
            search.learn(candidates[: len(results)], results)
            improved = task.best is not None and (
                best_before is None or task.best < _IMPROVEMENT * best_before
            )
            task.stale_rounds = 0 if improved else task.stale_rounds + 1
            task.finished = task.stale_rounds >= _STALE_ROUNDS
        finally:
            cost.seconds = time.monotonic() - started
            task.spent.seconds += cost.seconds
            if not self._budget.in_trials:
                self._budget.used += cost.seconds
            self._database.note(task.identity, cost, self._network)
            self._note_point()

    def _search(self, task: _Task) -> KernelSearch:
        """The task's search; begun anew where too many others were busy since."""
        if task.search is None:
            task.search = KernelSearch(
                task.kernel,
                self._target,
                self._threads,
                self._database.records(task.kernel.module),
                self._cost_model,
                [*self._chosen_before.values(), *self._leaders.values()],
                int(self._random.integers(1, 2**30)),
                fresh=not task.earlier.trials and not task.started,
                most_likely=self._most_likely(task),
            )
            task.started = True
        self._open = [other for other in self._open if other is not task] + [task]
        for other in self._open[:-_OPEN_SEARCHES]:
            other.search = None
        self._open = self._open[-_OPEN_SEARCHES:]
        return task.search

    def _most_likely(self, task: _Task) -> int:
        """How many of a kernel's first round are measured: all (0) where the cost model knows too
        little, otherwise more where the network's time is. Every kernel has its first round before
        most have their second, and a short tuning would be over with it."""
        total = self._estimate()
        if len(self._examples) < _EXPERIENCED:
            return 0
        if not total:
            return _LIKELY
        share = task.kernel.calls * (task.best or 0.0) / total
        return max(_LEAST_LIKELY, min(_LIKELY, round(_LIKELY * share * len(self._tasks))))

    def _measure_all(
        self,
        task: _Task,
        search: KernelSearch,
        candidates: Sequence[meta_schedule.MeasureCandidate],
        measurer: Measurer,
        cost: Spent,
    ) -> list[meta_schedule.runner.RunnerResult]:
        """Measure candidates until done or out of budget; one result for each that was measured."""
        workload = search.records.commit_workload(task.kernel.module)
        round_started = time.monotonic()
        measurer.turn_to(task.kernel)
        # Without instructions that only look at the kernel, more than half of a trace.
        traces = [each.sch.trace.simplified(remove_postproc=False) for each in candidates]
        scheduled = [Candidate(trace=trace_json(trace)) for trace in traces]
        results = []
        for trace, found in zip(
            traces, measurer.measure(scheduled, lambda: task.best), strict=True
        ):
            cost.trials += 1
            task.spent.trials += 1
            elapsed = time.monotonic() - round_started
            if self._budget.in_trials:
                self._budget.used += 1
                elapsed = 0.0
            if isinstance(found, KernelFailed):
                cost.failed_trials += 1
                task.spent.failed_trials += 1
                task.last_error = str(found)
                results.append(meta_schedule.runner.RunnerResult(None, str(found)))
            else:
                results.append(meta_schedule.runner.RunnerResult(found, None))
                record = meta_schedule.database.TuningRecord(
                    trace,
                    workload,
                    found,
                    self._target,
                    ArgInfo.from_prim_func(task.kernel.module["main"]),
                )
                search.records.commit_tuning_record(record)
                median = float(np.median(found))
                if task.best is None or median < task.best:
                    task.best = median
                    self._leaders[task.identity] = {
                        "record": record_json(record), "seconds": found,
                    }  # fmt: skip
            self._listener(self._progress(task, elapsed))
            if self._budget.left - elapsed <= 0:
                break
        return results

    def _choose(self, measurer: Measurer) -> None:
        """Hold a final comparison for each newly tuned kernel, and write down the winner."""
        chosen = self._database.chosen()
        tasks = [task for task in self._tasks if self._is_to_be_chosen(task, chosen)]
        entries = (
            Entry(
                task.kernel,
                task.default,
                task.default_seconds,
                chosen.get(task.identity),
                self._database.records(task.kernel.module),
            )
            for task in tasks
        )
        choices: dict[str, Choice] = {}
        for task, outcome in zip(tasks, hold_finals(entries, measurer), strict=True):
            task.wrong += outcome.wrong
            task.unsafe += outcome.unsafe
            if outcome.choice is None:
                task.last_error = outcome.error
                task.best = task.default_seconds
            else:
                task.best = outcome.seconds
                choices[task.identity] = outcome.choice
        self._database.choose(choices)
        self._note_point()

    def _is_to_be_chosen(self, task: _Task, chosen: Mapping[str, Choice]) -> bool:
        if task.spent.trials:
            return True
        return bool(task.earlier.trials) and task.identity not in chosen

    def _note_point(self) -> None:
        estimate, counted = self._estimate(), self._measurer.cost == "instructions"
        self._curve.append(
            TuningPoint(
                seconds=round(time.monotonic() - self._started, 3),
                trials=sum(task.spent.trials for task in self._tasks),
                estimate_ms=None if counted or estimate is None else 1e3 * estimate,
                estimate_instructions=estimate if counted else None,
            )
        )

    def _estimate(self) -> float | None:
        """The total cost of the network's kernels."""
        if any(task.best is None for task in self._tasks):
            return None
        return sum(task.kernel.calls * (task.best or 0.0) for task in self._tasks)

    def _progress(self, task: _Task, elapsed: float) -> TuningProgress:
        seconds = time.monotonic() - self._started
        trials = sum(each.spent.trials for each in self._tasks)
        rate = trials / seconds
        left = max(0.0, self._budget.left - elapsed)
        return TuningProgress(
            kernel=task.kernel.name,
            trials=trials,
            failed_trials=sum(each.spent.failed_trials for each in self._tasks),
            trials_per_second=rate,
            by=self._measurer.cost,
            best=task.best,
            estimate=self._estimate(),
            done=self._budget.total - left,
            total=self._budget.total,
            seconds_left=left / rate if self._budget.in_trials else left,
        )

    def _outcome(self) -> Tuning:
        trials = sum(task.spent.trials for task in self._tasks)
        failed = sum(task.spent.failed_trials for task in self._tasks)
        new = self._reused < len(self._tasks)
        if self._wanted and new and failed == trials and (trials or not self._reused):
            errors = [task.last_error for task in self._tasks if task.last_error]
            why = errors[0] if errors else "the search gave no candidates"
            raise CellFailure(f"tuning measured nothing: {trials} trials, all failed; {why}")
        return Tuning(
            by=self._measurer.cost,
            trials=trials,
            failed_trials=failed,
            seconds=round(time.monotonic() - self._started, 3),
            earlier_trials=sum(task.earlier.trials for task in self._tasks),
            wrong_kernels=sum(task.wrong for task in self._tasks),
            unsafe_kernels=sum(task.unsafe for task in self._tasks),
            earlier_seconds=round(sum(task.earlier.seconds for task in self._tasks), 3),
            tasks=len(self._tasks),
            tasks_reused=self._reused,
            stopped_by=self._stopped_by(trials),
            curve=tuple(self._curve),
        )

    def _stopped_by(self, trials: int) -> StoppedBy:
        if not trials:
            return "nothing to tune"
        if self._budget.left > 0:
            return "exhausted"
        return "trials" if self._budget.in_trials else "minutes"
