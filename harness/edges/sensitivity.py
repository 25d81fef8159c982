"""The measured change of a network's outputs when a single layer loses edges.

A layer whose own output changes little can still be essential for the network: the outputs are
looked at, of some of the calibration samples. Where the network is to be fitted afterwards, the
layer is fitted before they are, to the other samples where those are as many at least: a classifier
of more inputs than samples fits its own samples whatever it loses. The loss of several layers
lose together is taken as the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.compiler.api import relax
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer
from harness.networks.reconstruction import refitted, second_moments

Progress = Callable[[int, int], None]
"""Told how many layers are done, and how many there are."""

_SAMPLES = 32
_LEAST = 1e-12


def output_losses(
    layers: Sequence[Layer],
    masks: Mapping[str, Sequence[np.ndarray]],
    calibration: Calibration,
    fit: bool,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The squared distance of the outputs from the former ones, relative to their square, in the
    mean over samples: for each of a layer's `masks`, by its name."""
    samples = calibration.samples[:_SAMPLES]
    dense = [calibration.outputs(sample, {}) for sample in samples]
    found: dict[str, np.ndarray] = {}
    for at, layer in enumerate(layers):
        moments = (
            second_moments(
                _of_others(calibration, layer, len(samples)),
                biased=layer.name in calibration.biases,
            )
            if fit
            else None
        )
        lost = []
        for mask in masks[layer.name]:
            if mask.all():
                lost.append(0.0)
                continue
            weights = _with(layer, mask, calibration, moments)
            outputs = [calibration.outputs(sample, weights) for sample in samples]
            lost.append(float(np.mean(list(map(_distance, outputs, dense)))))
        found[layer.name] = np.array(lost)
        progress(at + 1, len(layers))
    return found


def _of_others(calibration: Calibration, layer: Layer, looked_at: int) -> np.ndarray:
    """A layer's inputs on samples that are not used for the outputs; on all if those are few."""
    rows, count = calibration.dense[layer.name], len(calibration.samples)
    return rows if count < 2 * looked_at else rows[len(rows) // count * looked_at :]


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.square(found - wanted).sum() / max(np.square(wanted).sum(), _LEAST))


def _with(
    layer: Layer, mask: np.ndarray, calibration: Calibration, moments: np.ndarray | None
) -> dict[relax.Var, np.ndarray]:
    """The constants of the layer with only the edges that a mask keeps: as they were, or fitted to
    inputs of these moments."""
    if moments is None:
        return {layer.variable: layer.stored(layer.matrix * mask)}
    fitted = refitted(layer.matrix, mask, moments)
    weights = {layer.variable: layer.stored(fitted)}
    bias = calibration.biases.get(layer.name)
    if bias is not None:
        shift = calibration.dense[layer.name].mean(axis=0) @ (layer.matrix - fitted)
        weights[bias.variable] = bias.values + shift.reshape(bias.values.shape)
    return weights
