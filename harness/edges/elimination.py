"""Removes a layer's edges group by group, the others making up for each as well as they can.

The loss of a layer's output, in the mean over `rows` of its inputs, with the weights w instead
of d is (w - d)' H (w - d) with the inputs' second moments H. Removing input k costs |w_k|² over the
k-th of the inverse's diagonal, if the others are then at their best; those and the inverse without
k follow from a step of Gaussian elimination [OBC].

Sources
-------
[OBC]  E. Frantar and D. Alistarh, Optimal brain compression: a framework for accurate post-training
       quantization and pruning, NeurIPS 2022, section 4.
"""

from __future__ import annotations

import numpy as np

_STEPS = 32
"""In how many steps all inputs of a wide layer are removed: the cheapest few at a time, chosen as
if each were alone. Of ResNet-8, 64 steps and one by one come to the same within a point."""


def elimination_costs(dense: np.ndarray, moments: np.ndarray, group: int) -> np.ndarray:
    """The cost of removing each group, with all cheaper ones, `[inputs, outputs / group]`.

    `dense` are the weights `[inputs, outputs]`, `moments` the inputs' second moments, damped so
    that they have an inverse.
    """
    inverse = np.linalg.inv(moments)
    columns = [
        _costs(dense[:, at : at + group].astype(np.float64), inverse)
        for at in range(0, dense.shape[1], group)
    ]
    return np.stack(columns, axis=1)


def _costs(weights: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """The same for one group of outputs: increasing in the order in which inputs go."""
    found = np.zeros(len(weights))
    left = np.arange(len(weights))
    at_once = max(1, len(weights) // _STEPS)
    spent = 0.0
    while len(left):
        costs = np.square(weights).sum(axis=1) / np.diag(inverse)
        gone = np.argsort(costs, kind="stable")[:at_once]
        found[left[gone]] = spent + np.cumsum(costs[gone])
        spent = float(found[left[gone[-1]]])
        kept = np.setdiff1d(np.arange(len(left)), gone)
        # The removed weights in terms of the others: a block of the inverse, eliminated.
        share = np.linalg.solve(inverse[np.ix_(gone, gone)], inverse[np.ix_(gone, kept)]).T
        weights = weights[kept] - share @ weights[gone]
        inverse = inverse[np.ix_(kept, kept)] - share @ inverse[np.ix_(gone, kept)]
        left = left[kept]
    return found
