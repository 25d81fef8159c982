"""The cost model learns which schedules are fast."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tiled_kernels import convolution, search

from harness.compiler.api import meta_schedule, tvm
from harness.compiler.patches import load_tensor_intrinsics
from harness.tuning.search.cost_model import CostModel
from harness.tuning.search.examples import Examples

Measured = tuple[meta_schedule.TuneContext, list[meta_schedule.MeasureCandidate], list[float]]


@pytest.fixture(scope="module", autouse=True)
def _intrinsics() -> None:
    load_tensor_intrinsics("x86")


def measured(kernel: tvm.IRModule, count: int) -> Measured:
    """Schedules of a kernel, and seconds that depend on how many parts they have for threads:
    what the features tell of, and what differs between any few of them."""
    proposed = search(kernel, [])
    candidates = proposed.propose()
    while len(candidates) < count:
        proposed.learn(
            candidates[-8:], [meta_schedule.runner.RunnerResult([1.0], None)] * 8
        )  # nothing that evolution could learn from
        candidates += proposed.propose()
    parts = [re.findall(r"T\.parallel\((\d+)", str(each.sch.mod)) for each in candidates]
    seconds = [1e-6 * (4 + sum(map(int, each))) for each in parts]
    return proposed._context, candidates, seconds


@pytest.fixture(scope="module")
def many() -> Measured:
    """Eighty schedules of one kernel."""
    return measured(convolution(12, 8, 3, 1), 80)


def results(seconds: list[float]) -> list[meta_schedule.runner.RunnerResult]:
    return [meta_schedule.runner.RunnerResult([value], None) for value in seconds]


def agreement(found: np.ndarray, seconds: list[float]) -> float:
    """The correlation of predicted scores with what they should be; many are the same."""
    return float(np.corrcoef(found, min(seconds) / np.array(seconds))[0, 1])


@pytest.mark.slow
def test_predictions_tell_schedules_apart_that_were_not_measured(many: Measured) -> None:
    context, candidates, seconds = many
    model = CostModel(Examples(), seed=0, threads=2)
    known = [at for at in range(len(candidates)) if at % 4]
    unknown = [at for at in range(len(candidates)) if not at % 4]
    model.update(context, [candidates[at] for at in known], results([seconds[at] for at in known]))
    found = model.predict(context, [candidates[at] for at in unknown])
    assert agreement(found, [seconds[at] for at in unknown]) > 0.5


@pytest.mark.slow
def test_what_was_learned_before_is_known_from_the_start(many: Measured) -> None:
    context, candidates, seconds = many
    examples = Examples()
    CostModel(examples, seed=0, threads=2).update(context, candidates, results(seconds))
    found = CostModel(examples, seed=0, threads=2).predict(context, candidates)
    assert agreement(found, seconds) > 0.9


def test_guesses_are_random_before_anything_was_measured() -> None:
    context, candidates, _ = measured(convolution(6, 4, 2, 1), 8)
    found = CostModel(Examples(), seed=0, threads=2).predict(context, candidates)
    assert len(set(found)) == len(candidates)
    assert all(0 <= value < 1 for value in found)


@pytest.mark.slow
def test_failed_candidates_are_predicted_to_be_slow(many: Measured) -> None:
    context, candidates, seconds = many
    failed = meta_schedule.runner.RunnerResult(None, "it crashed")
    outcome = [failed if at % 2 else found for at, found in enumerate(results(seconds))]
    model = CostModel(Examples(), seed=0, threads=2)
    model.update(context, candidates, outcome)
    found = model.predict(context, candidates)
    assert np.mean(found[1::2]) < np.mean(found[::2])
