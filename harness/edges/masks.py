"""Which edges of a network's layers are kept: scores, what each layer may lose, and a pattern."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.cache import cache_folder
from harness.edges.budgets import spend
from harness.edges.calibration import Calibration
from harness.edges.channels import KeptChannels, kept_channels
from harness.edges.costs import Prices
from harness.edges.graph import follow
from harness.edges.layers import Layer
from harness.edges.patterns import group_of, mask_of, shuffled
from harness.edges.score_cache import cached_scores
from harness.edges.scores import losses
from harness.spec import Edges, Spending
from harness.tvm_api import tvm

SCORES = "scores"
"""The folder in the cache for what took time to compute."""
_LEVELS: dict[Spending, tuple[float, ...]] = {
    "edges": (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    "latency": (0.5, 0.7, 0.8, 0.9),
}
"""How sparse a layer may be where layers differ, beside dense and as sparse as asked. For a budget
of latency a kernel is tuned for each."""

Appraise = Callable[[Sequence[Layer], Sequence[float]], Prices]
"""What layers cost at some sparsities."""


def channels_of(
    module: tvm.IRModule,
    layers: Sequence[Layer],
    edges: Edges,
    lanes: int,
    seed: int,
    calibration: Calibration | None,
) -> KeptChannels:
    """What stays of a network's channels, in the pattern `channel`."""
    scores = cached_scores(cache_folder() / SCORES, layers, edges.score, 1, seed, calibration)
    (sparsity,) = edges.sparsity
    shuffle = np.random.default_rng(seed) if edges.shuffle else None
    flow = follow(module)
    keep = kept_channels(flow, layers, scores, sparsity, lanes, edges.exclude, shuffle)
    return KeptChannels(flow, keep)


def masks_of(
    layers: Sequence[Layer],
    edges: Edges,
    lanes: int,
    seed: int,
    calibration: Calibration | None,
    appraise: Appraise | None,
) -> dict[str, np.ndarray]:
    """The mask of each layer that loses edges, by its name, in the other patterns."""
    chosen = [layer for layer in layers if layer.name not in edges.exclude]
    group = group_of(edges.pattern, lanes)
    scores = cached_scores(cache_folder() / SCORES, chosen, edges.score, group, seed, calibration)
    fitting = [layer for layer in chosen if layer.name in scores]
    sparsities = {layer.name: edges.sparsity[0] for layer in fitting}
    if edges.budget != "uniform" and fitting:
        levels = sorted({0.0, *_LEVELS[edges.budget], *edges.sparsity})
        price = _edges_left if edges.budget == "edges" else appraise
        assert price is not None
        sparsities = _affordable(
            fitting, scores, edges, calibration, levels, price(fitting, levels)
        )
    masks = {
        name: mask_of(scores[name], edges.pattern, sparsity, group)
        for name, sparsity in sparsities.items()
        if sparsity
    }
    if edges.shuffle:
        return {name: shuffled(mask, edges.pattern, group, seed) for name, mask in masks.items()}
    return masks


def _edges_left(layers: Sequence[Layer], sparsities: Sequence[float]) -> Prices:
    """How many edges layers have at some sparsities."""
    return {layer.name: layer.weights.size * (1 - np.array(sparsities)) for layer in layers}


def _affordable(
    layers: Sequence[Layer],
    scores: Mapping[str, np.ndarray],
    edges: Edges,
    calibration: Calibration | None,
    levels: Sequence[float],
    prices: Prices,
) -> dict[str, float]:
    """How sparse each layer is to be, 0 for dense, to cost no more together than if each were as
    sparse as asked; `prices` are those of `levels`."""
    lost = {}
    for layer in layers:
        found = scores[layer.name]
        loss = losses(found, edges.score, layer, calibration)
        lost[layer.name] = np.array(
            [loss(mask_of(found, edges.pattern, level, 1)) if level else 0.0 for level in levels]
        )
    asked = levels.index(edges.sparsity[0])
    most = sum(float(prices[layer.name][asked]) for layer in layers)
    return {name: levels[at] for name, at in spend(lost, prices, most).items()}
