"""Fits the edges that are left to what their layer gave before any were dropped.

For each layer in the network's order, with inputs as the compressed layers before it leave them
(`seen`) and as they were in the dense network (`before`), the weights that are left minimise

    | seen @ weights - before @ dense |² + damping * | weights - dense |²

in closed form. A dropped edge stays dropped: it is no unknown of the system.
"""

from __future__ import annotations

import numpy as np

_DAMPING = 0.01
"""Of the mean power of an input, as in SparseGPT (Frantar and Alistarh, ICML 2023)."""


def reconstructed(
    dense: np.ndarray, mask: np.ndarray, seen: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """The weights `[inputs, outputs]` that are left, fitted; zero where `mask` is False.

    `seen` and `before` are `[rows, inputs]`, the same places of the same samples.
    """
    seen, before, weights = (each.astype(np.float64) for each in (seen, before, dense))
    damping = _damping(seen)
    moments = second_moments(seen)
    goal = seen.T @ (before @ weights) / len(seen) + damping * weights
    found = np.zeros_like(weights)
    # Outputs that keep the same inputs, as those of a block do, share one system of equations.
    masks, owner = np.unique(mask, axis=1, return_inverse=True)
    for at in range(masks.shape[1]):
        kept = np.flatnonzero(masks[:, at])
        outputs = np.flatnonzero(owner.ravel() == at)
        found[np.ix_(kept, outputs)] = np.linalg.solve(
            moments[np.ix_(kept, kept)], goal[np.ix_(kept, outputs)]
        )
    return found.astype(dense.dtype)


def second_moments(inputs: np.ndarray) -> np.ndarray:
    """The second moments of a layer's inputs `[rows, inputs]`, damped: they have an inverse."""
    inputs = inputs.astype(np.float64)
    found: np.ndarray = inputs.T @ inputs / len(inputs)
    return found + _damping(inputs) * np.eye(len(found))


def _damping(inputs: np.ndarray) -> float:
    return _DAMPING * max(float(np.mean(np.square(inputs))), 1e-12)
