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
    gram = seen.T @ seen
    goal = seen.T @ (before @ weights)
    damping = _DAMPING * max(float(np.trace(gram)) / len(gram), 1e-12)
    found = np.zeros_like(weights)
    # Outputs that keep the same inputs, as those of a block do, share one system of equations.
    masks, owner = np.unique(mask, axis=1, return_inverse=True)
    for at in range(masks.shape[1]):
        kept = np.flatnonzero(masks[:, at])
        outputs = np.flatnonzero(owner.ravel() == at)
        system = gram[np.ix_(kept, kept)] + damping * np.eye(len(kept))
        wanted = goal[np.ix_(kept, outputs)] + damping * weights[np.ix_(kept, outputs)]
        found[np.ix_(kept, outputs)] = np.linalg.solve(system, wanted)
    return found.astype(dense.dtype)
