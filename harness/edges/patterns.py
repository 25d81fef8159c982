"""Which edges of a layer are kept: masks of a pattern, from the scores of its groups.

Masks are matrices `[taps * inputs, outputs]`, see `layers.py`. A pattern is a form that the
hardware can make use of:

- `block`: for one input (under one tap), all edges to a vector of neighbouring outputs are kept or
  dropped together, and each such vector keeps as many as the others. Loops over kept edges are
  static, and each kept weight is used by whole vector instructions.
- `wide-block`: the same for two such vectors, where those multiply each input that is loaded.
- `quad-block`: the same for four neighbouring inputs (under one tap) and one vector: instructions
  for 8-bit integers multiply and add four at once.
- `N:M`: the same as `block`, but N are kept of every M neighbouring inputs: the inputs of a
  vector lies closer together, and each part of the input is seen by all outputs.
- `unstructured`: any edge. No kernel here is faster for it: it is for accuracy curves.

The pattern `channel` is no mask of one layer: `channels.py` chooses for all layers at once.
"""

from __future__ import annotations

import numpy as np

from harness.edges.blocks import EDGE, Block
from harness.errors import CellFailure
from harness.specs.patterns import Pattern, traits_of
from harness.specs.target import TargetSpec


def block_of(pattern: Pattern, lanes: int) -> Block:
    """The edges that are kept or dropped together, on a target whose vectors have so many lanes."""
    traits = traits_of(pattern)
    return EDGE if traits.vectors is None else Block(traits.inputs, traits.vectors * lanes)


def require_pattern(pattern: Pattern, spec: TargetSpec, lanes: int) -> None:
    """Raises CellFailure where a target has no kernels that make use of a pattern. `lanes` is its
    vector width in weights. Unstructured edges are faster nowhere, so no target lacks them."""
    if not traits_of(pattern).in_blocks or (spec.passes.sparse_kernels and lanes > 1):
        return
    why = (
        "its description has 'sparse_kernels: false'" if lanes > 1
        else "it has no vector instructions for floats"
    )  # fmt: skip
    raise CellFailure(
        f"the target '{spec.name}' lacks the pattern '{pattern}': {why}; expected 'channel', or "
        "'unstructured', which is no faster"
    )


def mask_of(scores: np.ndarray, pattern: Pattern, sparsity: float, block: Block) -> np.ndarray:
    """Which edges to keep, True for those, `[taps * inputs, outputs]`, such that the share of the
    others is `sparsity` (rounded to the pattern, never more).

    `scores` are those of the blocks, as `scores_of` gives them.
    """
    traits = traits_of(pattern)
    if traits.channels:
        raise ValueError("channels are chosen for all layers of a group at once")
    found = np.zeros(scores.shape, bool)
    if not traits.in_blocks:
        order = np.argsort(-scores, axis=None, kind="stable")
        found.flat[order[: kept_of(scores.size, sparsity)]] = True
    else:
        kept, every = traits.every or (kept_of(len(scores), sparsity), len(scores))
        for begin in range(0, len(scores), every):
            order = np.argsort(-scores[begin : begin + every], axis=0, kind="stable")
            np.put_along_axis(found, begin + order[:kept], True, axis=0)
    return np.repeat(np.repeat(found, block.inputs, axis=0), block.outputs, axis=1)


def shuffled(mask: np.ndarray, pattern: Pattern, block: Block, seed: int) -> np.ndarray:
    """A mask with as many edges in each layer and column of blocks, but others: the control that
    tells whether it matters which edges of a layer are kept [Frankle].

    Sources
    -------
    [Frankle]  J. Frankle et al., Pruning neural networks at initialization: why are we missing
               the mark?, ICLR 2021.
    """
    generator = np.random.default_rng(seed)
    traits = traits_of(pattern)
    if not traits.in_blocks:
        return generator.permutation(mask.ravel()).reshape(mask.shape)
    blocks = mask[:: block.inputs, :: block.outputs]
    _, every = traits.every or (0, len(blocks))
    parts = [
        generator.permuted(blocks[begin : begin + every], axis=0)
        for begin in range(0, len(blocks), every)
    ]
    found = np.concatenate(parts)
    return np.repeat(np.repeat(found, block.inputs, axis=0), block.outputs, axis=1)


def kept_of(count: int, sparsity: float) -> int:
    """How many of `count` are left, rounded up: no layer is ever emptied."""
    return max(1, int(np.ceil(count * (1 - sparsity) - 1e-9)))
