"""The square of a group's norm, each weight times the norm of its input.

Sources
-------
M. Sun et al., A simple and effective pruning approach for large language models, ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.edges.blocks import Block, summed
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer

REVISION = 2


def scores(
    layers: Sequence[Layer], block: Block, _seed: int, calibration: Calibration
) -> dict[str, np.ndarray]:
    """The sums over each block of squared weights times the mean squares of their inputs."""
    found = {}
    for layer in layers:
        inputs = calibration.dense[layer.name].astype(np.float64)
        power = np.mean(np.square(inputs), axis=0)
        squares = np.square(layer.matrix.astype(np.float64))
        found[layer.name] = summed(squares * power[:, None], block)
    return found
