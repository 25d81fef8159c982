"""The square of a group's norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.edges.scores.groups import grouped
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer

REVISION = 2


def scores(
    layers: Sequence[Layer], group: int, _seed: int, _calibration: Calibration | None
) -> dict[str, np.ndarray]:
    """The sums of squares of the weights of each group."""
    return {
        layer.name: grouped(np.square(layer.matrix.astype(np.float64)), group) for layer in layers
    }
