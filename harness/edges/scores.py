"""How much each edge matters: `[taps * inputs, outputs]`, larger for more.

Scores of different methods are not comparable; those of one method are, within a layer.
"""

from __future__ import annotations

import numpy as np

from harness.edges.layers import Layer
from harness.spec import Score


def scores_of(
    layer: Layer, method: Score, seed: int, inputs: np.ndarray | None = None
) -> np.ndarray:
    """The score of each edge of a layer, whose `inputs` on calibration data are
    `[rows, taps * inputs]`.

    - `magnitude`: the weight, squared, so that a block's score is the square of its norm;
    - `activation`: the weight times the norm of its input [Wanda], squared;
    - `random`: a control that knows nothing.

    Sources
    -------
    [Wanda]  M. Sun et al., A simple and effective pruning approach for large language models,
             ICLR 2024.
    """
    squares: np.ndarray = np.square(layer.matrix.astype(np.float64))
    match method:
        case "magnitude":
            return squares
        case "activation":
            assert inputs is not None
            power = np.mean(np.square(inputs.astype(np.float64)), axis=0)
            found: np.ndarray = squares * power[:, None]
            return found
        case "random":
            return np.random.default_rng([seed, *layer.name.encode()]).random(squares.shape)
