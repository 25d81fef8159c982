"""The network thinned at random to some sparsities, to measure what they save.

No time between the sparsities is guessed: a layer may only be as sparse as was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.compiler.api import tvm
from harness.edges.patterns import block_of, mask_of
from harness.networks.layers import Layer, ReplaceConstants
from harness.specs.patterns import Pattern


def thinned(
    canonical: tvm.IRModule,
    layers: Sequence[Layer],
    sparsity: float,
    pattern: Pattern,
    lanes: int,
) -> tvm.IRModule:
    """A canonical network whose layers have lost a share of their blocks, drawn at random."""
    weights = {layer.variable: _thinned(layer, sparsity, pattern, lanes) for layer in layers}
    return ReplaceConstants.apply(canonical, weights)


def _thinned(layer: Layer, sparsity: float, pattern: Pattern, lanes: int) -> np.ndarray:
    """A layer's weights as it stores them."""
    if not sparsity:
        return layer.weights
    block, (rows, outputs) = block_of(pattern, lanes), layer.matrix.shape
    scores = np.random.default_rng(0).random((rows // block.inputs, outputs // block.outputs))
    return layer.stored(layer.matrix * mask_of(scores, pattern, sparsity, block))
