"""Compresses the edges of a network: scores them, and drops those that matter least."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from harness.edges.calibration import Calibration
from harness.edges.layers import Layer, ReplaceWeights, layers_of
from harness.edges.patterns import mask_of, shuffled
from harness.edges.reconstruction import reconstructed
from harness.edges.scores import scores_of
from harness.errors import CellFailure, unknown_name
from harness.record import Compression, LayerCompression
from harness.spec import Edges
from harness.tvm_api import relax, tvm


def compress(
    module: tvm.IRModule,
    edges: Edges,
    lanes: int,
    seed: int,
    calibrate: Callable[[list[Layer]], Calibration] | None = None,
) -> tuple[tvm.IRModule, Compression]:
    """A canonical network without the edges that matter least, and what was done to each layer.

    `lanes` is the vector width of the target in weights; `calibrate` gives what the layers see on
    calibration data. Raises CellFailure where no layer fits the pattern, where what is asked for
    needs calibration data and there is none, and where fitting gave weights that are not finite;
    InputError for a layer to exclude that there is not.
    """
    layers = layers_of(module)
    _check_names(edges, layers)
    calibration = _calibration(edges, layers, calibrate)
    masks = {
        layer.name: mask
        for layer in layers
        if (mask := _mask(layer, edges, lanes, seed, calibration)) is not None
    }
    if not masks:
        raise CellFailure(
            f"no layer fits the pattern '{edges.pattern}': of {len(layers)} convolutions and dense "
            f"layers with constant weights, none has outputs in whole vectors of {lanes}"
        )
    weights = {
        layer.variable: layer.stored(layer.matrix * masks[layer.name])
        for layer in layers
        if layer.name in masks
    }
    if edges.reconstruct:
        assert calibration is not None
        _reconstruct(layers, masks, weights, calibration)
    compressed = [_described(layer, masks.get(layer.name)) for layer in layers]
    summary = Compression(
        score=edges.score,
        pattern=edges.pattern,
        sparsity=edges.sparsity[0],
        parameters=sum(layer.parameters for layer in compressed),
        parameters_kept=sum(layer.parameters_kept for layer in compressed),
        layers=tuple(compressed),
    )
    return ReplaceWeights.apply(module, weights), summary


def _calibration(
    edges: Edges,
    layers: list[Layer],
    calibrate: Callable[[list[Layer]], Calibration] | None,
) -> Calibration | None:
    if not edges.needs_data:
        return None
    if calibrate is None:
        what = "'reconstruct'" if edges.reconstruct else f"the score '{edges.score}'"
        raise CellFailure(
            f"{what} needs inputs to calibrate on and the model has no data; give it 'data' and "
            "'metric', or score by magnitude without reconstruction"
        )
    return calibrate(layers)


def _mask(
    layer: Layer, edges: Edges, lanes: int, seed: int, calibration: Calibration | None
) -> np.ndarray | None:
    (sparsity,) = edges.sparsity
    if layer.name in edges.exclude:
        return None
    inputs = calibration.dense[layer.name] if calibration else None
    scores = scores_of(layer, edges.score, seed, inputs)
    mask = mask_of(scores, edges.pattern, sparsity, lanes)
    if mask is not None and edges.shuffle:
        return shuffled(mask, edges.pattern, lanes, seed)
    return mask


def _reconstruct(
    layers: list[Layer],
    masks: Mapping[str, np.ndarray],
    weights: dict[relax.Var, np.ndarray],
    calibration: Calibration,
) -> None:
    """Fit layer after layer; each sees what those before it give once they are fitted."""
    for layer in layers:
        if layer.name not in masks:
            continue
        seen = calibration.inputs([layer], weights)[layer.name]
        before = calibration.dense[layer.name]
        fitted = reconstructed(layer.matrix, masks[layer.name], seen, before)
        if not np.isfinite(fitted).all():
            raise CellFailure(f"reconstruction of {layer.name} gave weights that are not finite")
        weights[layer.variable] = layer.stored(fitted)


def _described(layer: Layer, mask: np.ndarray | None) -> LayerCompression:
    kept = layer.weights.size if mask is None else int(np.count_nonzero(mask))
    return LayerCompression(
        name=layer.name,
        shape=layer.weights.shape,
        flops=layer.flops,
        parameters=layer.weights.size,
        parameters_kept=kept,
    )


def _check_names(edges: Edges, layers: list[Layer]) -> None:
    names = [layer.name for layer in layers]
    for name in edges.exclude:
        if name not in names:
            raise unknown_name("layer", name, names)
