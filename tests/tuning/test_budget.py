"""What a tuning may still spend, after what was spent before."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.specs.sweep import Tune
from harness.tuning.budget import Budget
from harness.tuning.database import Spent

counts = st.integers(0, 1000)


def spent(trials: list[int]) -> dict[str, Spent]:
    """By kernels that are named by their places; a second was spent on each trial."""
    found: dict[str, Spent] = defaultdict(Spent)
    found |= {str(at): Spent(trials=each, seconds=each) for at, each in enumerate(trials)}
    return found


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=8), st.integers(1, 1000))
def test_what_others_spent_leaves_each_kernel_its_share(
    each: list[tuple[int, int]], trials: int
) -> None:
    own, others = ([pair[at] for pair in each] for at in (0, 1))
    together = spent([sum(pair) for pair in each])
    kernels = [str(at) for at in range(len(each))]
    budget = Budget.after(Tune(trials=trials), kernels, together, spent(own))
    assert budget.in_trials and budget.total == trials
    share = trials // len(each)
    # A whole number: a budget that is not spent has room for a trial.
    assert budget.left == trials - sum(own) - sum(min(other, share) for other in others)
    seconds = Budget.after(Tune(minutes=trials / 60), kernels, together, spent(own))
    assert not seconds.in_trials
    share = trials / len(each)
    assert seconds.left == pytest.approx(
        trials - sum(own) - sum(min(other, share) for other in others)
    )


def test_kernels_that_nobody_tuned_have_it_all() -> None:
    assert Budget.after(Tune(trials=64), ["a", "b"], spent([]), spent([])).left == 64
