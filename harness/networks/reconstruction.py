"""Fits kept edges to their layer's outputs before any were dropped.

For each layer in the network's order, with inputs as the compressed layers before it leave them
(`seen`) and as they were in the dense network (`before`), the weights that are left minimise

    | seen @ weights - before @ dense |² + sum over inputs of trust * | weights - dense |²

in closed form. A dropped edge stays dropped: it is no unknown of the system. Where the layer has a
bias, which can make up for whatever is missing in the mean, inputs count from their means.

`trust` keeps a layer from being fitted to chance: as if there were another row of inputs
for each input, and in those no input told of another. Of a classifier's 1,280 inputs that 64
samples are known of, next to nothing is believed of how they go together; of a convolution's 64
with ten thousand rows, nearly all.
"""

from __future__ import annotations

import numpy as np

_DAMPING = 0.01
"""Of the mean power of an input, as in SparseGPT (Frantar and Alistarh, ICML 2023)."""


def reconstructed(
    dense: np.ndarray,
    mask: np.ndarray,
    seen: np.ndarray,
    before: np.ndarray,
    *,
    biased: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The weights `[inputs, outputs]` that are kept, fitted; zero where `mask` is False. And the
    number is to be added to the bias, `[outputs]`, 0 unless there is one (`biased`).

    `seen` and `before` are `[rows, inputs]`, the same places of the same samples.
    """
    seen, before, weights = (each.astype(np.float64) for each in (seen, before, dense))
    now, then = seen.mean(axis=0), before.mean(axis=0)
    if biased:
        seen, before = seen - now, before - then
    trust = _trust(_power(seen), len(seen))
    moments = second_moments(seen)
    goal = seen.T @ (before @ weights) / len(seen) + trust[:, None] * weights
    found = _solved(mask, moments, goal)
    shift = then @ weights - now @ found if biased else np.zeros(weights.shape[1])
    return found.astype(dense.dtype), shift.astype(dense.dtype)


def refitted(dense: np.ndarray, mask: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The same weights for unchanged inputs of the layer, with these `second_moments`."""
    return _solved(mask, moments, moments @ dense).astype(dense.dtype)


def _solved(mask: np.ndarray, moments: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The weights that `mask` keeps, such that moments @ weights is the goal for each of them."""
    found = np.zeros_like(goal)
    # Outputs that keep the same inputs, as those of a block do, share one system of equations.
    masks, owner = np.unique(mask, axis=1, return_inverse=True)
    for at in range(masks.shape[1]):
        kept = np.flatnonzero(masks[:, at])
        outputs = np.flatnonzero(owner.ravel() == at)
        found[np.ix_(kept, outputs)] = np.linalg.solve(
            moments[np.ix_(kept, kept)], goal[np.ix_(kept, outputs)]
        )
    return found


def second_moments(inputs: np.ndarray, *, biased: bool = False) -> np.ndarray:
    """The second moments of a layer's inputs `[rows, inputs]`, from their means where it has a bias
    (`biased`), with the trusted rows: they have an inverse."""
    inputs = inputs.astype(np.float64)
    if biased:
        inputs = inputs - inputs.mean(axis=0)
    found: np.ndarray = inputs.T @ inputs / len(inputs)
    return found + np.diag(_trust(_power(inputs), len(inputs)))


def damped(moments: np.ndarray, rows: int) -> np.ndarray:
    """Second moments `[inputs, inputs]` of so many rows, with the trusted rows: they have an
    inverse."""
    return np.asarray(moments + np.diag(_trust(np.diag(moments), rows)))


def _power(inputs: np.ndarray) -> np.ndarray:
    return np.asarray(np.mean(np.square(inputs), axis=0))


def _trust(power: np.ndarray, rows: int) -> np.ndarray:
    """The addition to the second moments of each input, `[inputs]`, by the inputs' mean power in so
    many rows."""
    found: np.ndarray = power * (len(power) / rows) + _DAMPING * max(power.mean(), 1e-12)
    return found
