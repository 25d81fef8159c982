"""Networks that lost a share of their blocks at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from calibrated_networks import products
from compiling import imported

from harness.edges.patterns import block_of
from harness.edges.thinning import thinned
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.specs.patterns import Pattern

LANES = 4


@pytest.mark.parametrize("pattern", ["block", "wide-block", "quad-block"])
def test_as_many_blocks_are_gone_in_every_vector(pattern: Pattern, tmp_path: Path) -> None:
    canonical = canonicalise(imported(products(), tmp_path).module)
    block = block_of(pattern, LANES)
    layers = [
        layer
        for layer in layers_of(canonical)
        if layer.inputs % block.inputs == 0 and layer.outputs % block.outputs == 0
    ]
    assert layers
    names = {layer.name for layer in layers}
    after = layers_of(thinned(canonical, layers, 0.5, pattern, LANES))
    for layer in (each for each in after if each.name in names):
        rows, outputs = layer.matrix.shape
        split = layer.matrix.reshape(
            rows // block.inputs, block.inputs, outputs // block.outputs, block.outputs
        )
        used = np.any(split, axis=(1, 3)).sum(axis=0)
        assert (used == -(-(rows // block.inputs) // 2)).all()


def test_nothing_is_gone_of_a_dense_network(tmp_path: Path) -> None:
    canonical = canonicalise(imported(products(), tmp_path).module)
    layers = layers_of(canonical)
    for before, after in zip(
        layers, layers_of(thinned(canonical, layers, 0.0, "block", LANES)), strict=True
    ):
        np.testing.assert_array_equal(before.weights, after.weights)
