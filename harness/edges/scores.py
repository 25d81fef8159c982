"""How much edges matter: larger for more, by layer, for each group of edges that goes together.

A group is the edges from one input (under one tap) to `group` neighbouring outputs: what a pattern
keeps or drops as one. Scores are `[taps * inputs, outputs / group]`. Those of different methods are
not comparable; of one method they are within a layer.

Sources
-------
[Taylor] P. Molchanov et al., Importance estimation for neural network pruning, CVPR 2019.
[Wanda]  M. Sun et al., A simple and effective pruning approach for large language models,
         ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.edges.elimination import elimination_costs
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer
from harness.networks.reconstruction import second_moments
from harness.specs.sweep import Score


def scores_of(
    layers: Sequence[Layer],
    method: Score,
    group: int,
    seed: int,
    calibration: Calibration | None = None,
) -> dict[str, np.ndarray]:
    """The scores of all layers whose outputs are in whole groups, by the layer's name.

    - `magnitude`: the square of the group's norm;
    - `activation`: the same, each weight times the norm of its input [Wanda];
    - `gradient`: the first-order effect on the network's outputs, squared [Taylor];
    - `second-order`: what the layer's output has lost when the group goes, the least costly first,
      and its other weights make up for it as well as they can, see `elimination.py`;
    - `random`: a control that knows nothing.
    """
    fitting = [layer for layer in layers if layer.matrix.shape[1] % group == 0]
    if method == "gradient":
        assert calibration is not None
        return _gradient(fitting, group, seed, calibration)
    if method == "second-order":
        assert calibration is not None
        return {
            layer.name: elimination_costs(
                layer.matrix,
                second_moments(
                    calibration.dense[layer.name], biased=layer.name in calibration.biases
                ),
                group,
            )
            for layer in fitting
        }
    return {
        layer.name: grouped(_of_edges(layer, method, seed, calibration), group) for layer in fitting
    }


def grouped(edges: np.ndarray, group: int) -> np.ndarray:
    """What edges come to for each group, `[taps * inputs, outputs / group]`."""
    summed: np.ndarray = edges.reshape(len(edges), -1, group).sum(axis=2)
    return summed


def _of_edges(
    layer: Layer, method: Score, seed: int, calibration: Calibration | None
) -> np.ndarray:
    squares: np.ndarray = np.square(layer.matrix.astype(np.float64))
    if method == "magnitude":
        return squares
    if method == "random":
        return np.random.default_rng([seed, *layer.name.encode()]).random(squares.shape)
    assert calibration is not None
    inputs = calibration.dense[layer.name].astype(np.float64)
    power = np.mean(np.square(inputs), axis=0)
    found: np.ndarray = squares * power[:, None]
    return found


def _gradient(
    layers: Sequence[Layer], group: int, seed: int, calibration: Calibration
) -> dict[str, np.ndarray]:
    """The mean over samples of (sum over the group of weight * gradient)².

    The loss is the squared distance of the network's outputs from what they are, relative to their
    norm. Its gradient vanishes there, but not its curvature, J' J with the outputs' Jacobian J:
    with weights of a normal distribution on the outputs, the mean over their sums' squared
    gradients is that [a matrix's diagonal from random probes, as in Hutchinson's estimator].
    """
    generator = np.random.default_rng(seed)
    found = {
        layer.name: np.zeros((layer.matrix.shape[0], layer.matrix.shape[1] // group))
        for layer in layers
    }
    for sample in calibration.samples:
        inputs, outputs = calibration.observed(sample)
        probes = [_probe(output, generator) for output in outputs]
        gradients: Mapping[str, np.ndarray] = calibration.gradients(sample, probes)
        for layer in layers:
            gradient = calibration.of_weights(layer, inputs, gradients)
            effect = grouped((layer.matrix * gradient).astype(np.float64), group)
            found[layer.name] += np.square(effect) / len(calibration.samples)
    return found


def _probe(output: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    norm = max(float(np.linalg.norm(output)), 1e-12)
    return (generator.standard_normal(output.shape) / norm).astype(np.float32)
