"""Which edges of a network's layers are kept: scores, the sparsity of each layer, and a pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.compiler.api import operator_name, tvm
from harness.edges.blocks import EDGE, Block
from harness.edges.budgets import Prices, spend
from harness.edges.channels import KeptChannels, kept_channels
from harness.edges.patterns import block_of, mask_of, shuffled
from harness.edges.score_cache import cached_scores
from harness.edges.sensitivity import Progress, output_losses
from harness.files.cache import cache_folder
from harness.networks.calibration import Calibration
from harness.networks.channel_groups import follow
from harness.networks.layers import Layer
from harness.passes.sparse_lowering import HAS_SPARSE_KERNELS
from harness.specs.edges import Edges, Spending
from harness.specs.patterns import Pattern, traits_of

SCORES = "scores"
"""The folder in the cache for scores that took time to compute."""
_LEVELS: dict[Spending, tuple[float, ...]] = {
    "edges": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    "latency": (0.5, 0.7, 0.8, 0.9),
}
"""How sparse a layer may be where layers differ, beside dense and as sparse as asked. For a budget
of latency a kernel is tuned for each."""

Appraise = Callable[[Sequence[Layer], Sequence[float]], Prices]
"""The costs of layers at some sparsities."""


def channels_of(
    module: tvm.IRModule,
    layers: Sequence[Layer],
    edges: Edges,
    lanes: int,
    seed: int,
    calibration: Calibration | None,
) -> KeptChannels:
    """The channels of a network that are kept, in the pattern `channel`."""
    scores = cached_scores(cache_folder() / SCORES, layers, edges.score, EDGE, seed, calibration)
    (sparsity,) = edges.sparsity
    shuffle = np.random.default_rng(seed) if edges.shuffle else None
    flow = follow(module)
    keep = kept_channels(flow, layers, scores, sparsity, lanes, edges.exclude, shuffle)
    return KeptChannels(flow, keep)


def group_scores(
    layers: Sequence[Layer],
    edges: Edges,
    lanes: int,
    seed: int,
    calibration: Calibration | None,
) -> dict[str, np.ndarray]:
    """The scores of each layer that the pattern fits, by its name, in the other patterns. Blocks
    fit operators with sparse kernels."""
    chosen = [
        layer
        for layer in layers
        if layer.name not in edges.exclude
        and (
            not traits_of(edges.pattern).in_blocks
            or operator_name(layer.call) in HAS_SPARSE_KERNELS
        )
    ]
    block = block_of(edges.pattern, lanes)
    return cached_scores(cache_folder() / SCORES, chosen, edges.score, block, seed, calibration)


def sparsities_of(
    layers: Sequence[Layer],
    scores: Mapping[str, np.ndarray],
    edges: Edges,
    lanes: int,
    calibration: Calibration | None,
    appraise: Appraise | None,
    progress: Progress,
) -> dict[str, float]:
    """How sparse each layer that has scores is to be, by its name; left out are those that stay
    dense."""
    fitting = [layer for layer in layers if layer.name in scores]
    (sparsity,) = edges.sparsity
    if edges.budget == "uniform" or not fitting:
        return {layer.name: sparsity for layer in fitting}
    levels = sorted({0.0, *_LEVELS[edges.budget], sparsity})
    price = _edges_left if edges.budget == "edges" else appraise
    assert price is not None
    prices = price(fitting, levels)
    block = block_of(edges.pattern, lanes)
    lost = _lost(fitting, scores, edges, block, calibration, levels, progress)
    asked = levels.index(sparsity)
    most = sum(float(prices[layer.name][asked]) for layer in fitting)
    return {name: levels[at] for name, at in spend(lost, prices, most).items() if levels[at]}


def masks_of(
    scores: Mapping[str, np.ndarray],
    sparsities: Mapping[str, float],
    edges: Edges,
    lanes: int,
    seed: int,
    within: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The mask of each layer that loses edges, by its name, in the other patterns: of those that
    are `within` the masks of an earlier stage, where there are some."""
    block = block_of(edges.pattern, lanes)
    masks = {}
    for name, sparsity in sparsities.items():
        # Dropped edges score below all others: no score is below 0.
        ranked = (
            np.where(within[name][:: block.inputs, :: block.outputs], scores[name], -1)
            if within
            else scores[name]
        )
        masks[name] = mask_of(ranked, edges.pattern, sparsity, block)
    if edges.shuffle:
        return {name: shuffled(mask, edges.pattern, block, seed) for name, mask in masks.items()}
    return masks


def _edges_left(layers: Sequence[Layer], sparsities: Sequence[float]) -> Prices:
    """How many edges layers have at some sparsities."""
    return {layer.name: layer.weights.size * (1 - np.array(sparsities)) for layer in layers}


def _lost(
    layers: Sequence[Layer],
    scores: Mapping[str, np.ndarray],
    edges: Edges,
    block: Block,
    calibration: Calibration | None,
    levels: Sequence[float],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The loss of each layer at some sparsities. Without data to look at the outputs
    with, that is a share of all that its edges score."""
    if calibration is None:
        return {
            layer.name: np.array(
                [_scored(scores[layer.name], edges.pattern, level) for level in levels]
            )
            for layer in layers
        }
    masks = {
        layer.name: [mask_of(scores[layer.name], edges.pattern, level, block) for level in levels]
        for layer in layers
    }
    return output_losses(layers, masks, calibration, edges.reconstruct, progress)


def _scored(scores: np.ndarray, pattern: Pattern, sparsity: float) -> float:
    kept = mask_of(scores, pattern, sparsity, EDGE)
    total = scores.sum()
    return float(scores[~kept].sum() / total) if total else 0.0
