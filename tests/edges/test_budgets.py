"""Time is spent where it buys most."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.edges.budgets import spend


@settings(max_examples=50)
@given(layers=st.integers(1, 4), seed=st.integers(0, 1000), share=st.floats(0.1, 1.2))
def test_no_choice_within_the_budget_loses_less(layers: int, seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    names = [f"layer{at}" for at in range(layers)]
    losses = {name: np.sort(generator.random(3)) for name in names}
    seconds = {name: np.sort(generator.random(3))[::-1] + 0.1 for name in names}
    most = share * sum(float(values[0]) for values in seconds.values())
    chosen = spend(losses, seconds, most)

    def loss(levels: tuple[int, ...]) -> float:
        return sum(float(losses[name][at]) for name, at in zip(names, levels, strict=True))

    def takes(levels: tuple[int, ...]) -> float:
        return sum(float(seconds[name][at]) for name, at in zip(names, levels, strict=True))

    # Time comes in steps of a two-thousandth.
    affordable = [
        levels
        for levels in product(range(3), repeat=layers)
        if takes(levels) <= most * (1 - layers / 2000)
    ]
    found = tuple(chosen[name] for name in names)
    if affordable:
        assert takes(found) <= most * (1 + 1e-9)
        assert loss(found) <= min(map(loss, affordable)) + 1e-12
    elif takes(found) > most:
        assert found == (2,) * layers


def test_layer_that_gains_no_time_stays_dense() -> None:
    losses = {"gains": np.array([0.0, 1.0]), "does not": np.array([0.0, 0.1])}
    seconds = {"gains": np.array([2.0, 1.0]), "does not": np.array([1.0, 1.0])}
    assert spend(losses, seconds, 2.0) == {"gains": 1, "does not": 0}


def test_a_level_at_which_nothing_finite_is_left_is_not_chosen() -> None:
    losses = {"a": np.array([0.0, np.nan, np.inf]), "b": np.array([0.0, 0.1, 0.2])}
    prices = {name: np.array([1.0, 0.5, 0.1]) for name in losses}
    assert spend(losses, prices, 1.2) == {"a": 0, "b": 2}
