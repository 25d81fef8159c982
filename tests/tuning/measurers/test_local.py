"""A candidate that crashes, does not compile or is wrong costs itself; the others are measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from small_kernels import module, split, task

from harness.compiler.api import tvm
from harness.files.arrays import write_arrays
from harness.tuning.candidates import compiling
from harness.tuning.candidates import process as kernel_process
from harness.tuning.candidates.difference import difference
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurers.local import KernelMeasurer

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


@pytest.fixture(scope="module")
def measurer() -> Iterator[KernelMeasurer]:
    with KernelMeasurer(TARGET, threads=2) as found:
        yield found


def measured(
    measurer: KernelMeasurer, candidates: list[Candidate], best: float | None = None
) -> list[list[float] | KernelFailed]:
    return list(measurer.measure(candidates, lambda: best))


@pytest.mark.slow
def test_larger_kernel_takes_longer(measurer: KernelMeasurer) -> None:
    medians = []
    for extent in (8, 800):
        measurer.turn_to(task(extent))
        (seconds,) = measured(measurer, [module(extent)])
        assert isinstance(seconds, list) and len(seconds) > 1
        medians.append(np.median(seconds))
    assert 0 < medians[0] < medians[1]


def test_traces_are_replayed_in_order(measurer: KernelMeasurer) -> None:
    measurer.turn_to(task(64))
    found = measured(measurer, [split(64, factor) for factor in (1, 2, 4, 8, 16)])
    assert len(found) == 5 and all(isinstance(seconds, list) for seconds in found)


def test_hopeless_candidate_gets_one_sample(measurer: KernelMeasurer) -> None:
    measurer.turn_to(task(400))
    (hopeless,) = measured(measurer, [module(400)], best=1e-9)
    assert isinstance(hopeless, list) and len(hopeless) == 1


@pytest.mark.slow
def test_later_rounds_are_timed_beside_the_best_of_the_first() -> None:
    """What it is known for counts, not what it takes by now."""
    with KernelMeasurer(TARGET, threads=2) as found:
        found.turn_to(task(400))
        first, _ = measured(found, [module(400), split(400, 4)])
        (identity,) = found._known
        known = found._known[identity]
        assert isinstance(first, list) and known.seconds <= np.median(first)
        found._known[identity] = replace(known, seconds=100 * known.seconds)
        found.turn_to(task(400))
        for seconds in measured(found, [known.candidate] * 2):
            assert isinstance(seconds, list)
            assert 25 < np.median(seconds) / known.seconds < 400
        assert found._known[identity].seconds == 100 * known.seconds


def test_crash_costs_one_candidate_when_others_were_compiled_beside_it(
    measurer: KernelMeasurer,
) -> None:
    measurer.turn_to(task(8))
    found = measured(measurer, [module(8), module(8, "crash"), module(8), module(8), module(8)])
    failed = [at for at, each in enumerate(found) if isinstance(each, KernelFailed)]
    assert failed == [1] and "SIGSEGV" in str(found[1])


@pytest.mark.slow
def test_candidate_that_does_not_compile_costs_itself(measurer: KernelMeasurer) -> None:
    measurer.turn_to(task(8))
    broken = Candidate(trace=[[["NoSuchInstruction", [], [], []]], []])
    found = measured(measurer, [module(8), broken, module(8)])
    assert [isinstance(each, KernelFailed) for each in found] == [False, True, False]


def test_hang_in_compiling_costs_one_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "CANDIDATE_SECONDS", 0.0)
    with KernelMeasurer(TARGET, threads=1) as found:
        found.turn_to(task(8))
        (answer,) = measured(found, [module(8)])
    assert isinstance(answer, KernelFailed) and "took more than" in str(answer)


@pytest.mark.slow
def test_hang_in_compiling_several_fails_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "CANDIDATE_SECONDS", 0.0)
    with KernelMeasurer(TARGET, threads=1) as found:
        found.turn_to(task(8))
        answers = measured(found, [module(8)] * 3)
    assert len(answers) == 3
    assert all("took more than" in str(answer) for answer in answers)


@pytest.mark.slow
def test_worker_is_renewed_between_rounds_and_never_within_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_process, "_CANDIDATES_PER_WORKER", 2)
    with KernelMeasurer(TARGET, threads=1) as found:
        found.turn_to(task(8))
        for _ in range(2):
            assert all(isinstance(each, list) for each in measured(found, [module(8)] * 4))


def final(
    measurer: KernelMeasurer, kernel: KernelTask, candidates: list[Candidate], rounds: int = 3
) -> Standing:
    (standing,) = measurer.finals([(kernel, candidates)], rounds)
    assert isinstance(standing, Standing)
    return standing


def test_contest_gives_each_candidate_every_round(measurer: KernelMeasurer) -> None:
    standing = final(measurer, task(300), [module(300), split(300, 3)], rounds=5)
    assert [len(seconds or ()) for seconds in standing.times] == [5, 5] and not standing.wrong


def test_contests_are_of_their_own_kernels_when_there_are_more_than_workers(
    measurer: KernelMeasurer,
) -> None:
    extents = (8, 16, 600, 8, 300)
    entries = ((task(extent), [module(extent), module(extent, "wrong")]) for extent in extents)
    standings = [each for each in measurer.finals(entries, 3) if isinstance(each, Standing)]
    assert [set(standing.wrong) for standing in standings] == [{1}] * len(extents)
    slowest = max(range(len(extents)), key=lambda at: min(standings[at].times[0] or ()))
    assert extents[slowest] == 600


def test_wrong_candidate_is_thrown_out_of_the_contest(measurer: KernelMeasurer) -> None:
    standing = final(measurer, task(16), [module(16), module(16, "wrong")])
    assert standing.times[0] and standing.times[1] is None
    assert set(standing.wrong) == {1} and "output 0: 16 of 16 values" in standing.wrong[1]


@pytest.mark.parametrize("side", ["before", "behind"])
def test_candidate_that_reads_outside_its_arguments_is_thrown_out_of_the_contest(
    measurer: KernelMeasurer, side: str
) -> None:
    standing = final(measurer, task(64), [module(64), module(64, side)])
    assert standing.times[0] and standing.times[1] is None
    assert standing.unsafe == {1: f"accesses memory {side} argument 0"} and not standing.failed


def test_candidate_that_is_wrong_on_real_inputs_only_is_thrown_out(
    measurer: KernelMeasurer, tmp_path: Path
) -> None:
    """Random inputs are never as large as what this one caps."""
    real = tmp_path / "real.npz"
    write_arrays(real, [[("0", np.full((16, 16), 1e6, np.float32))]])
    assert not final(measurer, task(16), [module(16, "capped")]).wrong
    standing = final(measurer, task(16, real), [module(16), module(16, "capped")])
    assert standing.times[0] and standing.times[1] is None and "values differ" in standing.wrong[1]


def test_crash_in_contest_leaves_the_others_and_the_contest_beside_it(
    measurer: KernelMeasurer,
) -> None:
    crashing = [module(8), module(8, "crash"), module(8)]
    first, second = measurer.finals([(task(8), crashing), (task(9), [module(9)])], 3)
    assert isinstance(first, Standing) and isinstance(second, Standing)
    assert [seconds is not None for seconds in first.times] == [True, False, True]
    assert first.unsafe == {1: "accesses memory far outside its arguments"}
    assert second.times[0] and not first.wrong and not second.wrong


def test_contest_has_no_winner_when_its_kernel_does_not_compile(measurer: KernelMeasurer) -> None:
    broken = Candidate(trace=[[["NoSuchInstruction", [], [], []]], []])
    standing = final(measurer, task(8), [broken])
    assert standing.times == [None] and not standing.wrong
    assert "NoSuchInstruction" in standing.failed[0]


def test_contest_without_verifying_measures_what_it_is_given(measurer: KernelMeasurer) -> None:
    entries = [(task(8), [module(8, "wrong")]), (task(9), [module(9)])]
    for standing in measurer.finals(entries, 3, verified=False):
        assert isinstance(standing, Standing)
        assert len(standing.times[0] or ()) == 3 and not standing.wrong and not standing.failed


@pytest.mark.slow
def test_no_process_is_left_when_measuring_ends() -> None:
    before = set(psutil.Process().children(recursive=True))
    with KernelMeasurer(TARGET, threads=2) as found:
        found.turn_to(task(8))
        measured(found, [module(8)] * 4)
        during = set(psutil.Process().children(recursive=True)) - before
        assert len(during) >= 2
    _, alive = psutil.wait_procs(list(during), timeout=10)
    assert not alive


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ([1.0, 2.0], [1.0, 2.0001], None),
        ([1.0, 2.0], [1.0, 2.001], "1 of 2 values differ: 2.001 at [1], expected 2"),
        ([1.0, 9000.0], [1.2, 9000.0], "1.2 at [0], expected 1"),
        ([1.0, np.nan], [1.0, np.nan], None),
        ([1.0, np.inf], [1.0, 5.0], "5 at [1], expected inf"),
        ([1.0, np.inf], [1.0, -np.inf], "-inf at [1], expected inf"),
        ([1.0, 2.0], [1.0, np.nan], "nan at [1], expected 2"),
        ([1.0, 2.0], [1, 2], "has dtype int64"),
        ([1.0, 2.0], [1.0], "has shape [1]"),
        ([1, 2], [1, 3], "1 of 2 values differ"),
    ],
)
def test_difference_says_what_is_wrong(
    expected: list[float], found: list[float], words: str | None
) -> None:
    why = difference(np.array(expected), np.array(found))
    assert (why is None) == (words is None)
    assert words is None or words in str(why)


@pytest.mark.slow
def test_workers_stay_until_the_outermost_context_ends(no_template: None) -> None:
    before = kernel_workers()
    with KernelMeasurer(TARGET, threads=1) as outer:
        with outer as inner:
            inner.turn_to(task(8))
            measured(inner, [module(8)])
        (worker,) = kernel_workers() - before
        measured(outer, [module(8)])
        assert kernel_workers() - before == {worker}
    assert worker not in kernel_workers()


def kernel_workers() -> set[int]:
    """The kernel workers of this process, by their numbers."""
    found = psutil.Process().children(recursive=True)
    return {child.pid for child in found if "harness.tuning.candidates.worker" in child.cmdline()}
