"""How sparse each layer is to be, when all together may cost so much: time, or edges.

Each layer has a loss and a price for each of some sparsities. Chosen is one for each, such that the
losses sum up to the least with which the prices sum up to no more than they may: where dropping a
layer's edges saves nothing, they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Prices = Mapping[str, np.ndarray]
"""What a layer costs at each of some sparsities, `[sparsities]` by the layer's name: seconds, or
edges."""

_STEPS = 2000
"""How finely the budget is divided."""


def spend(losses: Mapping[str, np.ndarray], prices: Prices, most: float) -> dict[str, int]:
    """Which of its levels each layer gets; `losses` and `prices` are `[levels]` by the layer's
    name, `most` the limit of their sum. The cheapest levels where even those cost more.

    A multiple-choice knapsack, by dynamic programming over the sum spent.
    """
    cheapest = {name: int(np.argmin(prices[name])) for name in losses}
    if most <= 0:
        return cheapest
    step = most / _STEPS
    names = list(losses)
    # Rounding up a layer's price never exceeds the budget; one step for each layer is lost at most.
    weights = {name: np.ceil(prices[name] / step - 1e-9).astype(int) for name in names}
    best = np.full(_STEPS + 1, np.inf)
    best[0] = 0.0
    chosen: list[np.ndarray] = []
    for name in names:
        found = np.full(_STEPS + 1, np.inf)
        level = np.zeros(_STEPS + 1, int)
        for at, (weight, loss) in enumerate(zip(weights[name], losses[name], strict=True)):
            if weight > _STEPS or not np.isfinite(loss):
                continue
            with_it = np.full(_STEPS + 1, np.inf)
            with_it[weight:] = best[: _STEPS + 1 - weight] + loss
            better = with_it < found
            found[better], level[better] = with_it[better], at
        best = found
        chosen.append(level)
    if not np.isfinite(best).any():
        return cheapest
    left = int(np.argmin(best))
    result: dict[str, int] = {}
    for name, level in zip(reversed(names), reversed(chosen), strict=True):
        result[name] = int(level[left])
        left -= int(weights[name][result[name]])
    return {name: result[name] for name in names}
