"""The effect of a group on the network's outputs, to first order.

Sources
-------
P. Molchanov et al., Importance estimation for neural network pruning, CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.edges.blocks import Block, summed
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer

REVISION = 2


def scores(
    layers: Sequence[Layer], block: Block, seed: int, calibration: Calibration
) -> dict[str, np.ndarray]:
    """The mean over samples of (sum over the block of weight * gradient)².

    The loss is the squared distance of the network's outputs from the present ones, relative to
    their norm. Its gradient vanishes there, but not its curvature, J' J with the outputs' Jacobian
    J: with weights of a normal distribution on the outputs, the mean over their sums' squared
    gradients is that [a matrix's diagonal from random probes, as in Hutchinson's estimator].
    """
    generator = np.random.default_rng(seed)
    found = {layer.name: np.zeros_like(summed(layer.matrix, block), np.float64) for layer in layers}
    for sample in calibration.samples:
        inputs, outputs = calibration.observed(sample)
        probes = [_probe(output, generator) for output in outputs]
        gradients: Mapping[str, np.ndarray] = calibration.gradients(sample, probes)
        for layer in layers:
            gradient = calibration.of_weights(layer, inputs, gradients)
            effect = summed((layer.matrix * gradient).astype(np.float64), block)
            found[layer.name] += np.square(effect) / len(calibration.samples)
    return found


def _probe(output: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    norm = max(float(np.linalg.norm(output)), 1e-12)
    return (generator.standard_normal(output.shape) / norm).astype(np.float32)
