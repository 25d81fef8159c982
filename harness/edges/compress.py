"""Compresses the edges of a network: scores them, and drops those that matter least."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import numpy as np

from harness.edges.calibration import Calibration, no_samples
from harness.edges.layers import Layer, ReplaceConstants, grouped_layers_of, layers_of
from harness.edges.masks import Appraise, channels_of, masks_of
from harness.edges.reconstruction import reconstructed
from harness.edges.shrinking import KeepChannels
from harness.errors import CellFailure, unknown_name
from harness.record import Compression, LayerCompression
from harness.spec import Edges, Finetune
from harness.tvm_api import relax, tvm

Tell = Callable[[dict[str, Any]], None]

_CHECKED = 4
"""How many samples the outputs are looked at for once a network was fitted."""
_EXPLODED = 100
"""Outputs so many times as large as the dense network's are an accident."""


def compress(
    module: tvm.IRModule,
    edges: Edges,
    lanes: int,
    seed: int,
    calibrate: Callable[[list[Layer]], Calibration] | None = None,
    training: Sequence[Sequence[np.ndarray]] = (),
    tell: Tell = lambda message: None,
    appraise: Appraise | None = None,
) -> tuple[tvm.IRModule, Compression]:
    """A canonical network without the edges that matter least, and what was done to each layer.

    `lanes` is the vector width of the target in weights; `calibrate` gives what the layers see on
    calibration data, `appraise` what they cost on the target at some sparsities; `training` are the
    inputs, in the order of the network's parameters, to fine-tune on; `tell` hears the stages.
    Raises CellFailure where no layer fits the pattern, where what is asked for needs data or a
    package and it is not there, and where fitting gave weights that are not finite; InputError for
    a layer to exclude that there is not.
    """

    def sensitivity(done: int, total: int) -> None:
        tell({"stage": "compress", "done": done, "total": total, "detail": "layers' sensitivity"})

    tell({"stage": "compress"})
    if edges.finetune and find_spec("torch") is None:
        raise CellFailure("fine-tuning needs PyTorch: pip install 'layeredge[torch]'")
    layers = layers_of(module)
    edges = edges.model_copy(update={"exclude": _excluded(edges, layers)})
    calibration = _calibration(edges, layers, calibrate)
    channels = (
        channels_of(module, layers, edges, lanes, seed, calibration)
        if edges.pattern == "channel"
        else None
    )
    masks = (
        channels.masks(layers)
        if channels
        else masks_of(layers, edges, lanes, seed, calibration, appraise, sensitivity)
    )
    if not masks:
        lacks = (
            "none has channels that can be removed"
            if channels
            else f"none has outputs in whole vectors of {lanes}"
            + ("" if edges.budget == "uniform" else " and saves anything at this budget")
        )
        raise CellFailure(
            f"no layer fits the pattern '{edges.pattern}': of {len(layers)} convolutions and dense "
            f"layers with constant weights, {lacks}"
        )
    weights = {
        layer.variable: layer.stored(layer.matrix * masks[layer.name])
        for layer in layers
        if layer.name in masks
    }
    if edges.reconstruct:
        assert calibration is not None
        _reconstruct(layers, masks, weights, calibration)
        check_outputs(calibration, weights)
    if edges.finetune is not None:
        trained = [layer for layer in layers if layer.name not in edges.exclude]
        trained += grouped_layers_of(module)
        weights = _finetuned(module, trained, masks, weights, training, edges.finetune, seed, tell)
    compressed = [_described(layer, masks.get(layer.name)) for layer in layers]
    summary = Compression(
        score=edges.score,
        pattern=edges.pattern,
        sparsity=edges.sparsity[0],
        parameters=sum(layer.parameters for layer in compressed),
        parameters_kept=sum(layer.parameters_kept for layer in compressed),
        finetuned_epochs=edges.finetune.epochs if edges.finetune else 0,
        finetuned_samples=len(training) if edges.finetune else 0,
        layers=tuple(compressed),
    )
    if channels:
        return KeepChannels.apply(module, channels.flow, channels.keep, weights), summary
    found = ReplaceConstants.apply(module, weights)
    _check_masks(layers_of(found), masks)
    return found, summary


def _calibration(
    edges: Edges,
    layers: list[Layer],
    calibrate: Callable[[list[Layer]], Calibration] | None,
) -> Calibration | None:
    if not edges.needs_data:
        return None
    if calibrate is None:
        what = (
            "'finetune'" if edges.finetune
            else "'reconstruct'" if edges.reconstruct
            else f"the score '{edges.score}'"
        )  # fmt: skip
        raise no_samples(what)
    return calibrate(layers) if edges.looks_inside else None


def _reconstruct(
    layers: list[Layer],
    masks: Mapping[str, np.ndarray],
    weights: dict[relax.Var, np.ndarray],
    calibration: Calibration,
) -> None:
    """Fit layer after layer; each sees what those before it give once they are fitted."""
    masked = [layer for layer in layers if layer.name in masks]
    # Layers side by side that read the same take one run of the network together.
    for _, together in groupby(masked, key=lambda layer: layer.call.args[0]):
        reading = list(together)
        seen = calibration.inputs(reading, weights)
        for layer in reading:
            bias = calibration.biases.get(layer.name)
            fitted, shift = reconstructed(
                layer.matrix,
                masks[layer.name],
                seen[layer.name],
                calibration.dense[layer.name],
                biased=bias is not None,
            )
            if not (np.isfinite(fitted).all() and np.isfinite(shift).all()):
                raise CellFailure(
                    f"reconstruction of {layer.name} gave weights that are not finite"
                )
            weights[layer.variable] = layer.stored(fitted)
            if bias is not None:
                weights[bias.variable] = bias.values + shift.reshape(bias.values.shape)


def check_outputs(calibration: Calibration, weights: Mapping[relax.Var, np.ndarray]) -> None:
    """Raises CellFailure where a network with these weights gives what is not finite, or many times
    as much as before: each layer was fitted to what it sees, and errors can add up all the same."""
    for sample in calibration.samples[:_CHECKED]:
        before = float(np.linalg.norm(calibration.outputs(sample, {})))
        after = float(np.linalg.norm(calibration.outputs(sample, weights)))
        if not math.isfinite(after):
            raise CellFailure("after reconstruction the network gives outputs that are not finite")
        if after > _EXPLODED * max(before, 1e-12):
            raise CellFailure(
                f"after reconstruction the network's outputs are {after / max(before, 1e-12):.0f} "
                "times as large as before; more 'calibration' inputs or less sparsity may help"
            )


def _finetuned(
    module: tvm.IRModule,
    layers: list[Layer],
    masks: Mapping[str, np.ndarray],
    weights: Mapping[relax.Var, np.ndarray],
    training: Sequence[Sequence[np.ndarray]],
    settings: Finetune,
    seed: int,
    tell: Tell,
) -> dict[relax.Var, np.ndarray]:
    """Fit all layers at once to what the dense network gives; only this needs PyTorch."""
    from harness.edges.finetune import finetuned

    def progress(done: int, total: int, distance: float) -> None:
        detail = f"epochs, distance {distance:.3g}"
        tell({"stage": "fine-tune", "done": done, "total": total, "detail": detail})

    tell({"stage": "fine-tune"})
    return finetuned(module, layers, masks, weights, training, settings, seed, progress)


def _check_masks(layers: list[Layer], masks: Mapping[str, np.ndarray]) -> None:
    """That no step after an edge was dropped has given it a weight again."""
    for layer in layers:
        mask = masks.get(layer.name)
        if mask is not None and layer.matrix[~mask].any():
            raise CellFailure(f"fitting {layer.name} gave weights to edges that were dropped")


def _described(layer: Layer, mask: np.ndarray | None) -> LayerCompression:
    kept = layer.weights.size if mask is None else int(np.count_nonzero(mask))
    return LayerCompression(
        name=layer.name,
        shape=layer.weights.shape,
        flops=layer.flops,
        parameters=layer.weights.size,
        parameters_kept=kept,
    )


def _excluded(edges: Edges, layers: list[Layer]) -> tuple[str, ...]:
    """The names of the layers that what the user excludes stands for."""
    names = [layer.name for layer in layers]
    found: list[str] = []
    for pattern in edges.exclude:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise unknown_name("layer", pattern, names)
        found += matching
    return tuple(found)
