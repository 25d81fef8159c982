"""Removes a layer's edges block by block, the others making up for each as well as they can.

The loss of a layer's output, in the mean over `rows` of its inputs, with the weights w instead
of d is (w - d)' H (w - d) with the inputs' second moments H. Removing the inputs k costs
w_k' (H⁻¹_kk)⁻¹ w_k, if the others are then at their best; those and the inverse without k follow
from a step of Gaussian elimination [OBC].

Sources
-------
[OBC]  E. Frantar and D. Alistarh, Optimal brain compression: a framework for accurate post-training
       quantization and pruning, NeurIPS 2022, section 4.
"""

from __future__ import annotations

import numpy as np

from harness.edges.blocks import Block

_STEPS = 32
"""In how many steps all inputs of a wide layer are removed: the cheapest few at a time, chosen as
if each were alone. Of ResNet-8, 64 steps and one by one come to the same within a point."""


def elimination_costs(dense: np.ndarray, moments: np.ndarray, block: Block) -> np.ndarray:
    """The cost of removing each block, with all cheaper ones,
    `[inputs / block.inputs, outputs / block.outputs]`.

    `dense` are the weights `[inputs, outputs]`, `moments` the inputs' second moments, damped so
    that they have an inverse.
    """
    inverse = np.linalg.inv(moments)
    columns = [
        _costs(dense[:, at : at + block.outputs].astype(np.float64), inverse, block.inputs)
        for at in range(0, dense.shape[1], block.outputs)
    ]
    return np.stack(columns, axis=1)


def _costs(weights: np.ndarray, inverse: np.ndarray, inputs: int) -> np.ndarray:
    """The same for one vector of outputs, in blocks of so many inputs: increasing in the order in
    which blocks go."""
    count = len(weights) // inputs
    found = np.zeros(count)
    left = np.arange(count)
    at_once = max(1, count // _STEPS)
    spent = 0.0
    while len(left):
        costs = _costs_alone(weights, inverse, inputs)
        gone = np.argsort(costs, kind="stable")[:at_once]
        found[left[gone]] = spent + np.cumsum(costs[gone])
        spent = float(found[left[gone[-1]]])
        kept = np.setdiff1d(np.arange(len(left)), gone)
        out, stay = (_rows(blocks, inputs) for blocks in (gone, kept))
        # The removed weights in terms of the others: a block of the inverse, eliminated.
        share = np.linalg.solve(inverse[np.ix_(out, out)], inverse[np.ix_(out, stay)]).T
        weights = weights[stay] - share @ weights[out]
        inverse = inverse[np.ix_(stay, stay)] - share @ inverse[np.ix_(out, stay)]
        left = left[kept]
    return found


def _costs_alone(weights: np.ndarray, inverse: np.ndarray, inputs: int) -> np.ndarray:
    """The cost of removing each block of inputs while the others are there."""
    if inputs == 1:
        return np.asarray(np.square(weights).sum(axis=1) / np.diag(inverse))
    count = len(weights) // inputs
    own = inverse.reshape(count, inputs, count, inputs)[np.arange(count), :, np.arange(count)]
    blocks = weights.reshape(count, inputs, -1)
    return np.asarray((blocks * np.linalg.solve(own, blocks)).sum(axis=(1, 2)))


def _rows(blocks: np.ndarray, inputs: int) -> np.ndarray:
    """The inputs of some blocks."""
    return np.asarray((blocks[:, None] * inputs + np.arange(inputs)).ravel())
