"""The loss of a layer's output when a block goes, the least costly first, and the other weights
make up for it as well as they can; see `harness.edges.elimination`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.edges.blocks import Block
from harness.edges.elimination import elimination_costs
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer
from harness.networks.reconstruction import second_moments

REVISION = 2


def scores(
    layers: Sequence[Layer], block: Block, _seed: int, calibration: Calibration
) -> dict[str, np.ndarray]:
    """The costs of elimination, by the second moments of the layers' inputs."""
    return {
        layer.name: elimination_costs(
            layer.matrix,
            second_moments(calibration.dense[layer.name], biased=layer.name in calibration.biases),
            block,
        )
        for layer in layers
    }
