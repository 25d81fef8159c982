"""Which edges of a layer are kept: masks of a pattern, from the scores of its groups.

Masks are matrices `[taps * inputs, outputs]`, see `layers.py`. A pattern is what the
hardware can make use of:

- `block`: for one input (under one tap), all edges to a vector of neighbouring outputs are kept or
  dropped together, and each such vector keeps as many as the others. Loops over what is left are
  static, and each kept weight is used by whole vector instructions.
- `unstructured`: any edge. No kernel here is faster for it: it is for accuracy curves.

The pattern `channel` is no mask of one layer: `channels.py` chooses for all layers at once.
"""

from __future__ import annotations

import numpy as np

from harness.spec import Pattern


def group_of(pattern: Pattern, lanes: int) -> int:
    """How many neighbouring outputs' edges from one input are kept or dropped together, on a target
    whose vectors have so many lanes."""
    return lanes if pattern == "block" else 1


def mask_of(scores: np.ndarray, pattern: Pattern, sparsity: float, group: int) -> np.ndarray:
    """Which edges to keep, True for those, `[taps * inputs, outputs]`, such that the share of the
    others is `sparsity` (to what the pattern can be rounded to, never more).

    `scores` are those of the groups, as `scores_of` gives them.
    """
    found = np.zeros(scores.shape, bool)
    match pattern:
        case "unstructured":
            order = np.argsort(-scores, axis=None, kind="stable")
            found.flat[order[: _kept(scores.size, sparsity)]] = True
        case "block":
            order = np.argsort(-scores, axis=0, kind="stable")
            np.put_along_axis(found, order[: _kept(len(scores), sparsity)], True, axis=0)
        case "channel":
            raise ValueError("channels are chosen for all layers of a group at once")
    return np.repeat(found, group, axis=1)


def shuffled(mask: np.ndarray, pattern: Pattern, group: int, seed: int) -> np.ndarray:
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
    return np.repeat(generator.permuted(mask[:, ::group], axis=0), group, axis=1)


def _kept(count: int, sparsity: float) -> int:
    """How many of `count` are left, rounded up: no layer is ever emptied."""
    return max(1, int(np.ceil(count * (1 - sparsity) - 1e-9)))
