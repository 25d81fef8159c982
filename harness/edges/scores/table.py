"""How much edges matter: larger for more, by layer, for each group of edges that goes together.

A group is the edges from one input (under one tap) to `group` neighbouring outputs: a pattern keeps
or drops them as one. Scores are `[taps * inputs, outputs / group]`. Those of different methods are
not comparable; of one method they are within a layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np

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
    group: int,
    seed: int,
    calibration: Calibration | None = None,
) -> dict[str, np.ndarray]:
    """The scores of all layers whose outputs are in whole groups, by the layer's name.

    `harness.specs.scores.SCORES` has the methods; `calibration` is given where a method takes data.
    """
    fitting = [layer for layer in layers if layer.matrix.shape[1] % group == 0]
    found: dict[str, np.ndarray] = score_module(method).scores(fitting, group, seed, calibration)
    return found
