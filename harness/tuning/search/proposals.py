"""Proposes candidates of one kernel.

The first round is not random: it has the most promising schedules of the tiled design space, and
the schedules of related kernels of the same target. From then on a part of each round is next
to the best that was measured, and MetaSchedule's evolutionary search gives the rest, in its own
design space and in the tiled one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from harness.compiler.api import (
    ArgInfo,
    Schedule,
    Trace,
    code_kind,
    estimate_tir_flops,
    meta_schedule,
    trace_json,
    tvm,
)
from harness.kernels.vectors import vector_registers
from harness.schedules.even import accumulators
from harness.schedules.sketches import Sketches
from harness.tuning.candidates.process import KernelTask
from harness.tuning.database import Choice, kernel_identity
from harness.tuning.search.refinement import neighbours

TRIALS_PER_ROUND = 32
"""At most."""
_UNBOUNDED = 2**30
_POPULATION = 64
_GENERATIONS = 2
_RELATED = 12
_SAMPLED = 4
"""How many of the first round are drawn at random, as bad examples for the cost model."""
_REFINED = 12
"""How many of a later round are next to one of the best."""
_EVOLVED = TRIALS_PER_ROUND - _REFINED
_PARENTS = 3
_NEIGHBOURS = 24
"""How many neighbours the cost model is asked about."""

_UNROLLED_STEPS = [0, 16, 64]
"""MetaSchedule unrolls up to 512 steps too: a tenth of the candidates, half of the compile time."""

_OURS = 3
"""How many times more random schedules are of the tiled design space, where it fits, than of
MetaSchedule's own, which takes twice as long to compile and seldom wins."""

_MOST_WORK = 2.0
"""Arithmetic of a candidate, relative to the unscheduled kernel's, where that is a convolution or a
product. Others, a softmax for one, may well compute cheap values twice."""
_CUT = "SamplePerfectTile"

_Mark = tuple[str, str]
"""A trace's instructions and its decisions, as texts."""


class KernelSearch:
    """The search for one kernel's schedule; `fresh` when nothing of it was measured before. Where
    the cost model has learnt enough from others to say where to begin, `most_likely` says how many
    of the first round are measured; 0 measures all."""

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
        most_likely: int = 0,
    ) -> None:
        self._kernel = kernel
        self._target = target
        self._threads = threads
        self.records = records
        self._cost_model = cost_model
        self._seed = seed
        self._sketches = Sketches(kernel.module, target, threads)
        vectors = code_kind(target).vectors
        self._most_accumulators = vector_registers(target)[1] if vectors else math.inf
        self._most_work = (
            _MOST_WORK * estimate_tir_flops(kernel.module) if self._sketches.spaces else math.inf
        )
        self._context = self._started(_evolution(), _UNBOUNDED)
        self._chosen = list(chosen)
        self._fresh = fresh
        self._first_round = most_likely
        self._random = np.random.default_rng(seed)
        self._proposed: set[str] = set()
        """The kernels, once scheduled, that were proposed so far."""
        self._visited: set[_Mark] = set()
        """The neighbours that were proposed, or that do not fit."""

    def _started(
        self, strategy: meta_schedule.SearchStrategy, trials: int
    ) -> meta_schedule.TuneContext:
        context = meta_schedule.TuneContext(
            mod=self._kernel.module,
            target=self._target,
            space_generator=_space(self._kernel.module, self._target),
            search_strategy=strategy,
            task_name=self._kernel.name,
            rand_state=self._seed,
            num_threads=self._threads,
        )
        context.pre_tuning(
            max_trials=trials,
            num_trials_per_iter=min(trials, _EVOLVED),
            design_spaces=weighted(self._sketches.spaces, context.generate_design_space()),
            database=self.records,
            cost_model=self._cost_model,
        )
        return context

    def propose(self) -> list[meta_schedule.MeasureCandidate]:
        """The next candidates; none when the design space is exhausted."""
        if self._fresh:
            self._fresh = False
            first = self._new(self._first())
            return self._most_likely(first) if self._first_round else first
        refined = self._new(self._refined())
        evolved = self._new(self._context.generate_measure_candidates() or ())
        return [*refined, *evolved]

    def _most_likely(
        self, candidates: list[meta_schedule.MeasureCandidate]
    ) -> list[meta_schedule.MeasureCandidate]:
        """Those that the cost model thinks most of; the others may be proposed again."""
        if len(candidates) <= self._first_round:
            return candidates
        ranked = np.argsort(-np.asarray(self._cost_model.predict(self._context, candidates)))
        for at in ranked[self._first_round :]:
            self._proposed.discard(kernel_identity(candidates[at].sch.mod))
        return [candidates[at] for at in ranked[: self._first_round]]

    def _new(
        self, candidates: Iterable[meta_schedule.MeasureCandidate]
    ) -> list[meta_schedule.MeasureCandidate]:
        """Those that were not proposed before and are worth compiling."""
        found = []
        for candidate in candidates:
            if self._is_hopeless(candidate.sch):
                continue
            mark = kernel_identity(candidate.sch.mod)
            if mark not in self._proposed:
                self._proposed.add(mark)
                found.append(candidate)
        return found

    def _is_hopeless(self, schedule: Schedule) -> bool:
        """Whether a schedule is slow, and slow to compile, for a reason that is known beforehand:
        it has tiles of more accumulators than registers, or repeats arithmetic."""
        cuts = [
            decision
            for instruction, decision in schedule.trace.decisions.items()
            if str(instruction.kind.name) == _CUT
        ]
        if accumulators(cuts) > self._most_accumulators:
            return True
        return bool(estimate_tir_flops(schedule.mod) > self._most_work)

    def _first(self) -> Iterator[meta_schedule.MeasureCandidate]:
        sampled = self._started(meta_schedule.search_strategy.ReplayTrace(), _EVOLVED)
        chosen = [
            candidate
            for schedule in (*self._sketches.promising(), *self._related())
            if (candidate := self._candidate(schedule)) is not None
        ]
        yield from chosen
        left = max(_SAMPLED, TRIALS_PER_ROUND // 2 - len(chosen))
        yield from islice(sampled.generate_measure_candidates() or (), left)

    def _refined(self) -> list[meta_schedule.MeasureCandidate]:
        """Neighbours of the best records, those that the cost model thinks most of."""
        steps = self._steps()
        marks: list[_Mark] = []
        candidates: list[meta_schedule.MeasureCandidate] = []
        for at in self._random.permutation(len(steps)):
            if len(candidates) >= _NEIGHBOURS:
                break
            mark, trace = steps[at]
            schedule = Schedule(self._kernel.module)
            candidate = None
            with suppress(RuntimeError):  # the rest of the trace does not go with the step
                Trace.apply_json_to_schedule(trace, schedule)
                if not self._is_hopeless(schedule):
                    candidate = self._candidate(schedule)
            if candidate is None:
                self._visited.add(mark)
            else:
                marks.append(mark)
                candidates.append(candidate)
        if not candidates:
            return []
        scores = self._cost_model.predict(self._context, candidates)
        best = np.argsort(-np.asarray(scores))[:_REFINED]
        self._visited |= {marks[at] for at in best}
        return [candidates[at] for at in best]

    def _steps(self) -> list[tuple[_Mark, list[Any]]]:
        """Traces one step from the best records, those that were not visited."""
        workload = self.records.commit_workload(self._kernel.module)
        steps: dict[_Mark, list[Any]] = {}
        for record in self.records.get_top_k(workload, _PARENTS):
            parent = trace_json(record.trace.simplified(remove_postproc=True))
            space = json.dumps(parent[0])
            for trace in neighbours(parent):
                steps.setdefault((space, json.dumps(trace[1])), trace)
        return [(mark, trace) for mark, trace in steps.items() if mark not in self._visited]

    def _candidate(self, schedule: Schedule) -> meta_schedule.MeasureCandidate | None:
        """A schedule as something to measure, unless a postprocessor refuses it."""
        if not _finished(schedule, self._context.space_generator.postprocs):
            return None
        return meta_schedule.MeasureCandidate(schedule, self._arguments())

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
        """Note the measurement of a proposal."""
        self._cost_model.update(self._context, candidates, results)
        self._context.notify_runner_results(candidates, results)


def weighted(ours: Sequence[Schedule], others: Sequence[Schedule]) -> list[Schedule]:
    """Design spaces as often as they are to be drawn from: MetaSchedule takes any with the same
    chance."""
    copies = math.ceil(_OURS * len(others) / len(ours)) if ours else 0
    return [*ours] * copies + [*others]


def _space(module: tvm.IRModule, target: tvm.target.Target) -> meta_schedule.SpaceGenerator:
    """MetaSchedule's own design space for the target, with less unrolling; without tensor cores on
    a graphics processor, whose intrinsics take 20 seconds to import."""
    unrolling = meta_schedule.schedule_rule.ParallelizeVectorizeUnroll
    kind = code_kind(target)
    if (rules := kind.search_rules) is not None:
        usual = meta_schedule.space_generator.PostOrderApply(
            sch_rules=rules, postprocs=rules, mutator_probs=rules
        )
    else:
        usual = meta_schedule.TuneContext(
            mod=module, target=target, space_generator="post-order-apply"
        ).space_generator
    return meta_schedule.space_generator.PostOrderApply(
        sch_rules=[
            unrolling(
                max_jobs_per_core=16 if kind.vectors else -1,
                max_vectorize_extent=64 if kind.vectors else -1,
                unroll_max_steps=_UNROLLED_STEPS,
                unroll_explicit=True,
            )
            if isinstance(rule, unrolling)
            else rule.clone()
            for rule in usual.sch_rules
        ],
        postprocs=[postprocessor.clone() for postprocessor in usual.postprocs],
        mutator_probs={each.clone(): chance for each, chance in usual.mutator_probs.items()},
    )


def _finished(
    schedule: Schedule, postprocessors: Iterable[meta_schedule.postproc.Postproc]
) -> bool:
    """Apply postprocessors to a schedule; whether all of them accept it.

    Their part of the trace is marked: evolution and refinement continue from the part before it.
    """
    schedule.enter_postproc()
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
    """The instructions that draw something: their positions, and their choices."""
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
        init_min_unmeasured=_EVOLVED,
    )
