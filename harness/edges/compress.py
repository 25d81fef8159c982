"""Compresses the edges of a network: scores them, and drops those that matter least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import numpy as np

from harness.compiler.api import relax, tvm
from harness.edges.masks import Appraise, channels_of, group_scores, masks_of, sparsities_of
from harness.edges.patterns import block_of
from harness.edges.shrinking import KeepChannels
from harness.errors import CellFailure
from harness.networks.calibration import Calibration, no_samples
from harness.networks.layers import (
    Layer,
    ReplaceConstants,
    grouped_layers_of,
    layers_of,
    why_no_layers,
)
from harness.networks.reconstruction import reconstructed
from harness.records.record import Compression, LayerCompression
from harness.specs.edges import Edges, Finetune
from harness.specs.patterns import traits_of

Tell = Callable[[dict[str, Any]], None]
Calibrate = Callable[[tvm.IRModule, list[Layer]], Calibration]
"""Inputs of layers of a network, which may have lost edges already, on calibration data."""

_CHECKED = 4
"""How many samples the outputs are looked at for once a network was fitted."""
_EXPLODED = 100
"""Outputs so many times as large as the dense network's are an accident."""


def compress(
    module: tvm.IRModule,
    edges: Edges,
    lanes: int,
    seed: int,
    calibrate: Calibrate | None = None,
    training: Sequence[Sequence[np.ndarray]] = (),
    tell: Tell = lambda message: None,
    appraise: Appraise | None = None,
) -> tuple[tvm.IRModule, Compression]:
    """A canonical network without the least important edges, and the compression of each layer.

    `lanes` is the vector width of the target in weights; `calibrate` gives the inputs of a
    network's layers on calibration data, `appraise` their costs on the target at some sparsities;
    `training` are the inputs, in the order of the network's parameters, to fine-tune on; `tell`
    hears the stages. Raises CellFailure where no layer fits the pattern, where an option
    needs data or a package and it is not there, and where fitting gave weights that are not finite.
    """
    tell({"stage": "compress"})
    if not layers_of(module):
        raise CellFailure(f"no edges can be dropped: {why_no_layers(module)}")
    if edges.finetune and find_spec("torch") is None:
        raise CellFailure("fine-tuning needs PyTorch: pip install 'layeredge[torch]'")
    work = _Work(module, edges, lanes, seed, calibrate, training, tell)
    return work.channels() if traits_of(edges.pattern).channels else work.in_stages(appraise)


@dataclass(frozen=True)
class _Work:
    """Everything that one network is compressed with."""

    dense: tvm.IRModule
    edges: Edges
    lanes: int
    seed: int
    calibrate: Calibrate | None
    training: Sequence[Sequence[np.ndarray]]
    tell: Tell

    def channels(self) -> tuple[tvm.IRModule, Compression]:
        """The network with fewer channels."""
        layers = layers_of(self.dense)
        calibration = self._calibration(self.dense, layers)
        channels = channels_of(self.dense, layers, self.edges, self.lanes, self.seed, calibration)
        masks = channels.masks(layers)
        if not masks:
            raise self._nothing_fits(layers, "none has channels that can be removed")
        weights = self._fitted(self.dense, layers, masks, calibration, stage=0)
        found = KeepChannels.apply(self.dense, channels.flow, channels.keep, weights)
        return found, self._described(layers, masks)

    def in_stages(self, appraise: Appraise | None) -> tuple[tvm.IRModule, Compression]:
        """The network with masked weights. How sparse layers are in the end is decided once; in
        each stage on the way there, scores are those of the weights as they are then."""
        edges, found = self.edges, self.dense
        masks: dict[str, np.ndarray] = {}
        sparsities: dict[str, float] = {}
        for stage, share in enumerate(edges.shares):
            layers = layers_of(found)
            calibration = self._calibration(found, layers)
            scores = group_scores(layers, edges, self.lanes, self.seed, calibration)
            if stage == 0:
                sparsities = sparsities_of(
                    layers, scores, edges, self.lanes, calibration, appraise, self._sensitivity
                )
            if not sparsities:
                block = block_of(edges.pattern, self.lanes)
                inputs = (
                    f"inputs in whole blocks of {block.inputs} and " if block.inputs > 1 else ""
                )
                saves = "" if edges.budget == "uniform" else " and saves anything at this budget"
                kernel = "a sparse kernel and " if traits_of(edges.pattern).in_blocks else ""
                why = f"none has {kernel}{inputs}outputs in whole blocks of {block.outputs}{saves}"
                raise self._nothing_fits(layers, why)
            asked = {name: share * sparsity for name, sparsity in sparsities.items()}
            masks = masks_of(scores, asked, edges, self.lanes, self.seed, within=masks)
            weights = self._fitted(found, layers, masks, calibration, stage)
            found = ReplaceConstants.apply(found, weights)
            _check_masks(layers_of(found), masks)
        return found, self._described(layers, masks)

    def _calibration(self, module: tvm.IRModule, layers: list[Layer]) -> Calibration | None:
        edges = self.edges
        if not edges.needs_data:
            return None
        if self.calibrate is None:
            what = (
                "'finetune'" if edges.finetune
                else "'reconstruct'" if edges.reconstruct
                else f"the score '{edges.score}'"
            )  # fmt: skip
            raise no_samples(what)
        return self.calibrate(module, layers) if edges.looks_inside else None

    def _fitted(
        self,
        module: tvm.IRModule,
        layers: list[Layer],
        masks: Mapping[str, np.ndarray],
        calibration: Calibration | None,
        stage: int,
    ) -> dict[relax.Var, np.ndarray]:
        """The constants of a network under masks, fitted as it is asked for."""
        edges = self.edges
        weights = {
            layer.variable: layer.stored(layer.matrix * masks[layer.name])
            for layer in layers
            if layer.name in masks
        }
        if edges.reconstruct:
            assert calibration is not None
            _reconstruct(layers, masks, weights, calibration)
            check_outputs(calibration, weights)
        if edges.finetune is None:
            return weights
        fitted = [*layers, *grouped_layers_of(module)]
        trained = [layer for layer in fitted if layer.name not in edges.exclude]
        return self._finetuned(module, trained, masks, weights, edges.finetune, stage)

    def _finetuned(
        self,
        module: tvm.IRModule,
        layers: list[Layer],
        masks: Mapping[str, np.ndarray],
        weights: Mapping[relax.Var, np.ndarray],
        settings: Finetune,
        stage: int,
    ) -> dict[relax.Var, np.ndarray]:
        """Fit all layers at once to the dense network's outputs; only this needs PyTorch."""
        from harness.networks.finetune import finetuned

        before = sum(settings.epochs_of_stages[:stage])

        def progress(done: int, distance: float) -> None:
            detail = f"epochs, distance {distance:.3g}"
            self.tell(
                {
                    "stage": "fine-tune",
                    "done": before + done,
                    "total": settings.epochs,
                    "detail": detail,
                }
            )

        self.tell({"stage": "fine-tune"})
        return finetuned(
            self.dense,
            module,
            layers,
            masks,
            weights,
            self.training,
            settings.model_copy(update={"epochs": settings.epochs_of_stages[stage]}),
            self.seed,
            progress,
        )

    def _sensitivity(self, done: int, total: int) -> None:
        detail = "layers' sensitivity"
        self.tell({"stage": "compress", "done": done, "total": total, "detail": detail})

    def _nothing_fits(self, layers: list[Layer], why: str) -> CellFailure:
        return CellFailure(
            f"no layer fits the pattern '{self.edges.pattern}': of {len(layers)} convolutions and "
            f"dense layers with constant weights, {why}"
        )

    def _described(self, layers: list[Layer], masks: Mapping[str, np.ndarray]) -> Compression:
        edges = self.edges
        compressed = [_described(layer, masks.get(layer.name)) for layer in layers]
        return Compression(
            score=edges.score,
            pattern=edges.pattern,
            sparsity=edges.sparsity[0],
            parameters=sum(layer.parameters for layer in compressed),
            parameters_kept=sum(layer.parameters_kept for layer in compressed),
            finetuned_epochs=edges.finetune.epochs if edges.finetune else 0,
            finetuned_samples=len(self.training) if edges.finetune else 0,
            layers=tuple(compressed),
        )


def _reconstruct(
    layers: list[Layer],
    masks: Mapping[str, np.ndarray],
    weights: dict[relax.Var, np.ndarray],
    calibration: Calibration,
) -> None:
    """Fit layer after layer; each gets the outputs of the fitted layers before it."""
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
    """Raises CellFailure where the outputs of a network with these weights are not finite, or many
    times as large as before: each layer was fitted to its inputs, and errors can add up
    nonetheless."""
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


def _check_masks(layers: list[Layer], masks: Mapping[str, np.ndarray]) -> None:
    """That no step after an edge was dropped has given it a weight again."""
    for layer in layers:
        mask = masks.get(layer.name)
        if mask is not None and layer.matrix.any(where=~mask):
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
