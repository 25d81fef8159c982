"""Proposes what to measure next of one kernel.

The first round is not random: it has the most promising schedules of the tiled design space, and
what was chosen for related kernels of the same target. From then on MetaSchedule's evolutionary
search goes on from what was measured, in its own design space and in the tiled one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from harness.tuning.database import Choice, kernel_identity
from harness.tuning.measurer import KernelTask
from harness.tuning.sketches import Sketches
from harness.tvm_api import ArgInfo, Schedule, Trace, meta_schedule, trace_json, tvm

TRIALS_PER_ROUND = 32
_UNBOUNDED = 2**30
_POPULATION = 64
_GENERATIONS = 2
_RELATED = 6
_SAMPLED = 4
"""How many of the first round are drawn at random, to tell the cost model what is bad."""


class KernelSearch:
    """The search for one kernel's schedule; `fresh` when nothing of it was measured before."""

    def __init__(
        self,
        kernel: KernelTask,
        target: tvm.target.Target,
        threads: int,
        records: meta_schedule.database.Database,
        cost_model: meta_schedule.cost_model.CostModel,
        chosen: Iterable[Choice],
        seed: int,
        *,
        fresh: bool,
    ) -> None:
        self._kernel = kernel
        self._target = target
        self._threads = threads
        self._records = records
        self._cost_model = cost_model
        self._seed = seed
        self._sketches = Sketches(kernel.module, target, threads)
        self._context = self._started(_evolution(), _UNBOUNDED)
        self._chosen = list(chosen)
        self._fresh = fresh

    def _started(
        self, strategy: meta_schedule.SearchStrategy, trials: int
    ) -> meta_schedule.TuneContext:
        context = meta_schedule.TuneContext(
            mod=self._kernel.module,
            target=self._target,
            space_generator="post-order-apply",
            search_strategy=strategy,
            task_name=self._kernel.name,
            rand_state=self._seed,
            num_threads=self._threads,
        )
        context.pre_tuning(
            max_trials=trials,
            num_trials_per_iter=min(trials, TRIALS_PER_ROUND),
            design_spaces=[*self._sketches.spaces, *context.generate_design_space()],
            database=self._records,
            cost_model=self._cost_model,
        )
        return context

    def propose(self) -> list[meta_schedule.MeasureCandidate]:
        """What to measure next; nothing when the design space is exhausted."""
        if not self._fresh:
            return list(self._context.generate_measure_candidates() or ())
        self._fresh = False
        found: dict[str, meta_schedule.MeasureCandidate] = {}
        sampled = self._started(meta_schedule.search_strategy.ReplayTrace(), TRIALS_PER_ROUND)
        for schedule in (*self._sketches.promising(), *self._related()):
            if _finished(schedule, sampled.space_generator.postprocs):
                candidate = meta_schedule.MeasureCandidate(schedule, self._arguments())
                found.setdefault(kernel_identity(schedule.mod), candidate)
        drawn = sampled.generate_measure_candidates() or ()
        left = max(_SAMPLED, TRIALS_PER_ROUND // 2 - len(found))
        for candidate in islice(drawn, left):
            found.setdefault(kernel_identity(candidate.sch.mod), candidate)
        return list(found.values())

    def _arguments(self) -> list[ArgInfo]:
        return list(ArgInfo.from_prim_func(self._kernel.module["main"]))

    def _related(self) -> list[Schedule]:
        """Schedules that were chosen for kernels of nearly this size, fitted to this one."""
        size = _size(self._arguments())
        known = sorted(
            (choice["record"] for choice in self._chosen if choice["record"] is not None),
            key=lambda record: abs(math.log(_size_of_record(record) / size)),
        )
        fitted: list[Schedule] = []
        spaces = [trace_json(space.trace) for space in self._sketches.spaces]
        for record in known:
            for space in spaces:
                grafted = graft(space, record[0])
                if grafted is None or len(fitted) >= _RELATED:
                    continue
                schedule = Schedule(self._kernel.module)
                with suppress(RuntimeError):  # it does not fit after all
                    Trace.apply_json_to_schedule(grafted, schedule)
                    fitted.append(schedule)
        return fitted

    def learn(
        self,
        candidates: Sequence[meta_schedule.MeasureCandidate],
        results: Sequence[meta_schedule.runner.RunnerResult],
    ) -> None:
        """Take note of what measuring a proposal gave."""
        self._cost_model.update(self._context, candidates, results)
        self._context.notify_runner_results(candidates, results)


def _finished(
    schedule: Schedule, postprocessors: Iterable[meta_schedule.postproc.Postproc]
) -> bool:
    """Apply postprocessors to a schedule; whether all of them accept it."""
    try:
        return all(postprocessor.apply(schedule) for postprocessor in postprocessors)
    except RuntimeError:  # it does not compute the kernel in a way that they can analyse
        return False


def graft(space: list[Any], source: list[Any]) -> list[Any] | None:
    """The trace of a design space with the decisions of another kernel's trace; both as JSON.

    None where they do not sample the same things in the same order, as kernels do that differ in
    their extents or their epilogue only. Decisions that do not divide this kernel's extents are
    made to when the trace is applied.
    """
    instructions, _ = space
    theirs, decisions = source
    ours = _sampling(instructions)
    other = _sampling(theirs)
    if [kind for _, kind in ours] != [kind for _, kind in other] or len(decisions) != len(ours):
        return None
    by_position = {int(at): decision for at, decision in decisions}
    return [
        instructions,
        [[at, by_position[was]] for (at, _), (was, _) in zip(ours, other, strict=True)],
    ]


def _sampling(instructions: list[Any]) -> list[tuple[int, tuple[str, str]]]:
    """The instructions that draw something: their positions, and what they draw."""
    return [
        (at, (str(kind), str(attributes)))
        for at, (kind, _, attributes, _) in enumerate(instructions)
        if str(kind).startswith("Sample")
    ]


def _size(arguments: Iterable[ArgInfo]) -> float:
    return float(math.prod(math.prod(map(int, info.shape)) or 1 for info in arguments))


def _size_of_record(record: list[Any]) -> float:
    """The same of a tuning record's arguments, as MetaSchedule writes them."""
    return float(math.prod(math.prod(map(int, shape)) or 1 for _, _, shape in record[3]))


def _evolution() -> meta_schedule.SearchStrategy:
    return meta_schedule.search_strategy.EvolutionarySearch(
        population_size=_POPULATION,
        genetic_num_iters=_GENERATIONS,
        init_min_unmeasured=TRIALS_PER_ROUND,
    )
