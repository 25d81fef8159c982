"""Which edges of a layer are kept: masks of a pattern, from the edges' scores.

Scores and masks are matrices `[taps * inputs, outputs]`, see `layers.py`. A pattern is what the
hardware can make use of:

- `block`: for one input (under one tap), all edges to a vector of neighbouring outputs are kept or
  dropped together, and each such vector keeps as many as the others. Loops over what is left are
  static, and each kept weight is used by whole vector instructions.
- `unstructured`: any edge. No kernel here is faster for it: it is for accuracy curves.
"""

from __future__ import annotations

import numpy as np

from harness.spec import Pattern


def mask_of(scores: np.ndarray, pattern: Pattern, sparsity: float, lanes: int) -> np.ndarray | None:
    """Which edges to keep, True for those, such that the share of the others is `sparsity` (to
    what the pattern can be rounded to, never more); None where the pattern does not fit the layer.

    `lanes` is how many outputs a block has.
    """
    match pattern:
        case "unstructured":
            kept = _kept(scores.size, sparsity)
            order = np.argsort(-scores, axis=None, kind="stable")
            mask = np.zeros(scores.size, bool)
            mask[order[:kept]] = True
            return mask.reshape(scores.shape)
        case "block":
            if scores.shape[1] % lanes:
                return None
            blocks = block_scores(scores, lanes)
            kept = _kept(len(blocks), sparsity)
            order = np.argsort(-blocks, axis=0, kind="stable")[:kept]
            found = np.zeros(blocks.shape, bool)
            np.put_along_axis(found, order, True, axis=0)
            return np.repeat(found, lanes, axis=1)


def block_scores(scores: np.ndarray, lanes: int) -> np.ndarray:
    """The sum of each block's scores, `[taps * inputs, outputs / lanes]`."""
    summed: np.ndarray = scores.reshape(len(scores), -1, lanes).sum(axis=2)
    return summed


def shuffled(mask: np.ndarray, pattern: Pattern, lanes: int, seed: int) -> np.ndarray:
    """A mask with as many edges in each layer and column of blocks, but others: the control that
    tells whether it matters which edges of a layer are kept [Frankle].

    Sources
    -------
    [Frankle]  J. Frankle et al., Pruning neural networks at initialization: why are we missing
               the mark?, ICLR 2021.
    """
    generator = np.random.default_rng(seed)
    if pattern == "unstructured":
        return generator.permutation(mask.ravel()).reshape(mask.shape)
    blocks = mask[:, ::lanes]
    return np.repeat(generator.permuted(blocks, axis=0), lanes, axis=1)


def _kept(count: int, sparsity: float) -> int:
    """How many of `count` are left, rounded up: no layer is ever emptied."""
    return max(1, int(np.ceil(count * (1 - sparsity) - 1e-9)))
