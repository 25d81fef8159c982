"""Which channels of a network are kept.

The pattern `channel` removes whole channels, from all layers of their group (`graph.py`): every
shape is smaller then (`shrinking.py`), and any kernel is faster. The share of channels removed is
the same in every group that may lose some. A layer that loses channels on both sides loses more
weights than that share: the square of the share that remains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import relax
from harness.edges.patterns import kept_of
from harness.networks.channel_groups import ChannelGroup, channel_groups
from harness.networks.flow import Flow
from harness.networks.layers import Layer


@dataclass(frozen=True)
class KeptChannels:
    """The channels of a network, and True in `keep` for each that stays."""

    flow: Flow
    keep: np.ndarray

    def masks(self, layers: Iterable[Layer]) -> dict[str, np.ndarray]:
        """The edges that stay, `[taps * inputs, outputs]` by name, of the layers that lose some.

        With the other edges zero a network computes the same as without their channels.
        """
        found: dict[str, np.ndarray] = {}
        for layer in layers:
            inputs, outputs = (layer.weights.shape[axis] for axis in layer.axes[-2:])
            rows, columns = np.ones(inputs, bool), np.ones(outputs, bool)
            for use in self.flow.uses.get(layer.variable, ()):
                if use.role == "consumes":
                    rows = self.keep[use.channels]
                else:
                    columns = self.keep[use.channels]
            if not (rows.all() and columns.all()):
                taps = layer.weights.size // (inputs * outputs)
                found[layer.name] = np.tile(rows, taps)[:, None] & columns
        return found


def channel_scores(
    group: ChannelGroup, layers: Mapping[relax.Var, Layer], scores: Mapping[str, np.ndarray]
) -> np.ndarray:
    """How much each channel of a group matters, by the scores of the edges that lead to it and from
    it: `scores` are matrices `[taps * inputs, outputs]` by the layers' names.

    A layer's scores of the channels are divided by their mean, because the scores of different
    layers are not comparable.
    """
    total = np.zeros(len(group.channels))
    for use in (*group.producers, *group.consumers):
        layer = layers.get(use.variable)
        if layer is None:
            continue
        matrix = scores[layer.name]
        if use.role == "produces":
            edges = matrix.sum(axis=0)
        else:
            edges = matrix.reshape(-1, len(use.channels), matrix.shape[1]).sum(axis=(0, 2))
        inside = np.isin(use.channels, group.channels)
        at = np.searchsorted(group.channels, use.channels[inside])
        summed = np.bincount(at, edges[inside], len(total))
        total += summed / (summed.mean() or 1.0)
    return total


def kept_channels(
    flow: Flow,
    layers: Sequence[Layer],
    scores: Mapping[str, np.ndarray],
    sparsity: float,
    lanes: int,
    exclude: Collection[str] = (),
    shuffle: np.random.Generator | None = None,
) -> np.ndarray:
    """True for each channel of a network that stays.

    The share `sparsity` of each group that may lose channels goes, those with the lowest scores, or
    as many others with `shuffle`. No layer of `exclude` loses any.
    """
    keep = np.ones(flow.count, bool)
    by_variable = {layer.variable: layer for layer in layers}
    fixed = {layer.variable for layer in layers if layer.name in exclude}
    for group in channel_groups(flow):
        uses = (*group.producers, *group.consumers)
        if group.frozen or any(use.variable in fixed for use in uses):
            continue
        found = channel_scores(group, by_variable, scores)
        if shuffle is not None:
            found = shuffle.permutation(found)
        left = kept_count(len(found), sparsity, lanes)
        keep[group.channels[np.argsort(-found, kind="stable")[left:]]] = False
    return keep


def kept_count(width: int, sparsity: float, lanes: int) -> int:
    """How many channels a group of `width` keeps: rounded up, and up to whole vectors where it has
    two of them or more, because kernels compute whole vectors."""
    kept = kept_of(width, sparsity)
    return min(width, -(-kept // lanes) * lanes) if width >= 2 * lanes else kept
