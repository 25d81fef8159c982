"""Who takes part in the final for a kernel's schedule, and who wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from harness.compiler.api import ArgInfo, Schedule, meta_schedule, te, tvm
from harness.records.record import TuningCost
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.finals import Entry, hold_finals
from harness.tuning.measurers.local import KernelMeasurer

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


def entry(
    default: tvm.IRModule, default_seconds: float | None, seconds: Sequence[float] = (SECONDS,)
) -> Entry:
    """A kernel with records of schedules that split its loop, each of another width."""
    module = doubling()
    records = meta_schedule.database.MemoryDatabase()
    for at, found in enumerate(seconds):
        schedule = Schedule(module)
        schedule.split(schedule.get_loops("result")[0], [None, 2 ** (at + 1)])
        records.commit_tuning_record(
            meta_schedule.database.TuningRecord(
                schedule.trace,
                records.commit_workload(module),
                [found],
                TARGET,
                ArgInfo.from_prim_func(module["main"]),
            )
        )
    return Entry(KernelTask("double", module, 1), default, default_seconds, None, records)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [None, 1.1 * SECONDS])
def test_default_schedule_takes_part_where_it_may_win(
    measurer: KernelMeasurer, seconds: float | None
) -> None:
    """A default that computes something else shows itself by being thrown out."""
    (outcome,) = hold_finals([entry(wrong(), seconds)], measurer)
    assert outcome.wrong == 1
    assert outcome.choice is not None and outcome.choice["record"] is not None


def test_default_schedule_far_behind_takes_no_part(measurer: KernelMeasurer) -> None:
    (outcome,) = hold_finals([entry(wrong(), 2 * SECONDS)], measurer)
    assert outcome.wrong == 0
    assert outcome.choice is not None and outcome.choice["record"] is not None


class Moody(KernelMeasurer):
    """A machine on which what takes how long hangs on the hour: in each pass so many seconds, for
    the default schedule first and then for the record's, or a failure."""

    def __init__(
        self, passes: Sequence[Sequence[float] | KernelFailed], cost: TuningCost = "seconds"
    ) -> None:
        super().__init__(TARGET, threads=1)
        self.cost = cost
        self.passes = list(passes)
        self.asked: list[int] = []

    def finals(
        self,
        entries: Iterable[tuple[KernelTask, Sequence[Candidate]]],
        rounds: int,
        *,
        verified: bool = True,
    ) -> Iterator[Standing | KernelFailed]:
        for _, candidates in entries:
            self.asked.append(len(candidates))
            seconds = self.passes.pop(0)
            if isinstance(seconds, KernelFailed):
                yield seconds
            else:
                yield Standing([[each] * rounds for each in seconds], {}, {})


def won(measurer: Moody) -> str:
    (outcome,) = hold_finals([entry(doubling(), None)], measurer)
    assert outcome.choice is not None
    return "the default" if outcome.choice["record"] is None else "the record"


def test_one_record_that_is_wildly_wrong_keeps_nobody_out() -> None:
    """The default schedule and two others take part, and one of those is the fastest."""
    measurer = Moody([(1.1, 2.0, 1.0, 1.05), (1.1, 1.0, 1.05)])
    wild = entry(doubling(), 1.1 * SECONDS, [SECONDS / 3, SECONDS, 1.05 * SECONDS])
    (outcome,) = hold_finals([wild], measurer)
    assert measurer.asked == [4, 3]
    assert outcome.seconds == 1.0


def test_who_was_faster_at_one_moment_only_does_not_win() -> None:
    assert won(Moody([(1.0, 1.05), (1.0, 0.9)])) == "the record"


def test_what_is_faster_where_the_machine_is_slow_does_not_win() -> None:
    assert won(Moody([(1.0, 1.05), (3.0, 2.0)])) == "the default"


def test_who_is_far_behind_is_not_measured_again() -> None:
    measurer = Moody([(1.0, 1.2)])
    assert won(measurer) == "the default" and measurer.asked == [2]


def test_kernel_that_takes_next_to_nothing_is_not_measured_again() -> None:
    measurer = Moody([(1.0, 1.05), (1e-3, 1e-3), (1.0, 1.05)])
    both = [entry(doubling(), None), entry(doubling(), None)]
    assert len(list(hold_finals(both, measurer))) == 2 and not measurer.passes


def test_pass_that_fails_leaves_what_the_others_found() -> None:
    lost = KernelFailed("the worker was lost")
    assert won(Moody([(1.0, 1.05), lost])) == "the default"


def test_what_is_counted_is_not_counted_again() -> None:
    measurer = Moody([(1.1, 1.0)], "instructions")
    assert won(measurer) == "the record" and measurer.asked == [2]
