"""How much edges matter: larger for more, by layer, for each block of edges that goes together.

A pattern keeps or drops a block as one. Scores are
`[taps * inputs / block.inputs, outputs / block.outputs]`. Those of different methods are not
comparable; of one method they are within a layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from harness.edges.blocks import Block
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer
from harness.specs.scores import Score


def score_module(method: Score) -> ModuleType:
    """The module of a score: `scores` computes it as `scores_of` says, and `REVISION` is raised
    when its formula changes."""
    return importlib.import_module(f"harness.edges.scores.{method.replace('-', '_')}")


def scores_of(
    layers: Sequence[Layer],
    method: Score,
    block: Block,
    seed: int,
    calibration: Calibration | None = None,
) -> dict[str, np.ndarray]:
    """The scores of all layers that are in whole blocks, by the layer's name.

    `harness.specs.scores.SCORES` has the methods; `calibration` is given where a method takes data.
    """
    fitting = [
        layer
        for layer in layers
        if layer.inputs % block.inputs == 0 and layer.outputs % block.outputs == 0
    ]
    found: dict[str, np.ndarray] = score_module(method).scores(fitting, block, seed, calibration)
    return found
