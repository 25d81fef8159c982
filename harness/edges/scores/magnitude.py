"""The square of a group's norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.edges.blocks import Block, summed_squares
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer

REVISION = 2


def scores(
    layers: Sequence[Layer], block: Block, _seed: int, _calibration: Calibration | None
) -> dict[str, np.ndarray]:
    """The sums of squares of the weights of each block."""
    return {layer.name: summed_squares(layer.matrix, block) for layer in layers}
