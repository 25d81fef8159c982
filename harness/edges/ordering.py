"""Puts outputs next to each other that use the same inputs, so that blocks lose less.

A block is an input's edges to a vector of neighbouring outputs, kept or dropped together. Which
outputs are whose neighbour is open: with the channels of a group (`graph.py`) in another order, and
with them all constants that lie along them, a network computes the same in the same time [Pool].
Sorting them by their norms, as [Lin] does, brings together outputs of similar size; here those with
the same inputs.

Vectors are filled one after the other, with whichever output keeps the largest share of its squared
weights under the inputs that the vector would keep. In EfficientNet-Lite0, with half of the blocks
gone, expansions lose 15 to 26 % of them then, and 26 to 30 % in the order they come in; all layers
of DS-CNN 19 and 25 %.

Sources
-------
[Lin]   M. Lin et al., 1xN pattern for pruning convolutional neural networks, IEEE Transactions on
        Pattern Analysis and Machine Intelligence 2023.
[Pool]  J. Pool and C. Yu, Channel permutations for N:M sparsity, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import constant_array, relax, tvm
from harness.compiler.names import constant_like
from harness.edges.patterns import kept_of
from harness.errors import CellFailure
from harness.networks.channel_groups import ChannelGroup, channel_groups, follow
from harness.networks.flow import Flow, Use
from harness.networks.layers import layers_of
from harness.passes.fusion import fuse
from harness.passes.rewriter import Rewriter, with_arguments

_LEAST = 1e-30
_SPARSITY = 0.65
"""One order does for all sparsities: with half and with four fifths of the blocks gone, the four
networks that were tried lose within 2 % of what they do in the order that is made for that, and the
weights, which scores are kept by, are the same."""
_CANDIDATES, _MOST_INPUTS = 2048, 4096
"""Limits of the outputs that compete for a vector, and of the inputs that they are compared by: the
time is quadratic in the outputs, and the largest layer of VGG-19 has 25,088 inputs and 4,096."""
_TOLERANCE = 1e-3
"""Of the outputs' norm: sums in another order are not the same to the last bit."""


def reordered(
    module: tvm.IRModule,
    vector: int,
    samples: Sequence[Sequence[np.ndarray]],
    target: tvm.target.Target,
    threads: int,
) -> tvm.IRModule:
    """The network of `side_by_side`, checked on the first of the samples, inputs in the order of
    the network's parameters, where there are some. Raises CellFailure where outputs are others."""
    found = side_by_side(module, vector)
    if samples:
        check_same(module, found, samples[0], target, threads)
    return found


def side_by_side(module: tvm.IRModule, vector: int) -> tvm.IRModule:
    """A network that computes the same, with outputs in an order for vectors of so many."""
    flow = follow(module)
    layers = {layer.variable: layer for layer in layers_of(module)}
    comes_from = np.arange(flow.count)
    for group in channel_groups(flow):
        ordered = _order_to_change(group, flow, vector)
        if ordered is not None:
            producers = [layers[use.variable].matrix for use in group.producers]
            comes_from[ordered] = ordered[neighbours(producers, vector)]
    return _OrderChannels.apply(module, flow, comes_from)


def check_same(
    before: tvm.IRModule,
    after: tvm.IRModule,
    sample: Sequence[np.ndarray],
    target: tvm.target.Target,
    threads: int,
) -> None:
    """Raises CellFailure where two networks do not give the same for a sample, inputs in the order
    of their parameters. `target` is this machine's."""
    wanted, found = (
        outputs_of(machine_of(fuse(each, "full"), target, threads), sample)
        for each in (before, after)
    )
    distance = np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted)), _LEAST)
    if not distance <= _TOLERANCE:
        raise CellFailure(
            f"with its channels in another order the network gives outputs {distance:.1%} from "
            f"the original ones, at most {_TOLERANCE:.1%} was expected; the pattern "
            "'unstructured' leaves them in their order"
        )


def neighbours(
    layers: Sequence[np.ndarray], vector: int, sparsity: float = _SPARSITY
) -> np.ndarray:
    """The outputs of layers, matrices `[taps * inputs, outputs]` whose outputs go together, in an
    order such that those in a vector use the same inputs: those that are left once the share
    `sparsity` of the vector's blocks is gone."""
    shares = [_shares(matrix) for matrix in layers]
    left = np.ones(len(shares[0]), bool)
    order: list[int] = []
    while left.any():
        candidates = np.flatnonzero(left)[:_CANDIDATES]
        among = [each[candidates] for each in shares]
        chosen = candidates[_alike(among, min(vector, len(candidates)), sparsity)]
        order.extend(map(int, chosen))
        left[chosen] = False
    return np.array(order)


def _shares(matrix: np.ndarray) -> np.ndarray:
    """The share that each input has in the squared weights of an output, `[outputs, inputs]`, for
    inputs at equal distances where there are many."""
    every = np.linspace(0, len(matrix) - 1, min(len(matrix), _MOST_INPUTS)).astype(int)
    squares: np.ndarray = np.square(matrix[every].T, dtype=np.float64, order="C")
    squares /= squares.sum(axis=1, keepdims=True) + _LEAST
    # Each output of a large layer is compared thousands of times: half the memory to read.
    return squares.astype(np.float32)


def _alike(shares: Sequence[np.ndarray], count: int, sparsity: float) -> list[int]:
    """The outputs of one vector, chosen greedily: the first, and then each time the output that
    keeps the largest share of its weights under the inputs that the vector keeps so far."""
    sums = [each[0].copy() for each in shares]
    left = np.ones(len(shares[0]), bool)
    chosen = [0]
    for _ in range(count - 1):
        left[chosen[-1]] = False
        kept = sum(_kept(*each, sparsity) for each in zip(shares, sums, strict=True))
        chosen.append(int(np.argmax(np.where(left, kept, -1))))
        for each, summed in zip(shares, sums, strict=True):
            summed += each[chosen[-1]]
    return chosen


def _kept(shares: np.ndarray, sums: np.ndarray, sparsity: float) -> np.ndarray:
    """The share that each output would keep with the inputs of the largest `sums`."""
    most = np.zeros(len(sums), sums.dtype)
    most[np.argsort(-sums, kind="stable")[: kept_of(len(sums), sparsity)]] = 1
    kept: np.ndarray = shares @ most
    return kept


def _order_to_change(group: ChannelGroup, flow: Flow, vector: int) -> np.ndarray | None:
    """The channels of a group in their order, where that can be another and is worth it.

    Each layer that gives them gives nothing else, in whole vectors, and all in the same order; and
    wherever they lie, they do so in that order, each as many times as the others.
    """
    width = len(group.channels)
    if group.frozen or not group.producers or width % vector or width == vector:
        return None
    ordered = group.producers[0].channels
    given = [use.channels for use in group.producers]
    if len(ordered) != width or any(not np.array_equal(each, ordered) for each in given):
        return None
    for channels in flow.places:
        own = channels[np.isin(channels, ordered)]
        if len(own) and not _in_order(own, ordered):
            return None
    return ordered


def _in_order(channels: np.ndarray, ordered: np.ndarray) -> bool:
    """Whether channels are those that are `ordered`, each some times, and all of that again. What
    cuts across that, such as a slice that has the second part of one time and the first of the
    next, would mix up the time steps."""
    other = np.flatnonzero(channels != channels[0])
    times = int(other[0]) if len(other) else len(channels)
    once, count = np.repeat(ordered, times), len(channels)
    return count % len(once) == 0 and np.array_equal(channels, np.resize(once, count))


class _OrderChannels(Rewriter):
    """A network in which each channel equals the one that it `comes_from` in the original."""

    def __init__(self, module: tvm.IRModule, flow: Flow, comes_from: np.ndarray) -> None:
        super().__init__(module)
        self._flow = flow
        self._comes_from = comes_from

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        uses = self._flow.uses.get(original.var, ())
        arguments = list(call.args)
        for use in uses:
            values = constant_array(arguments[use.argument])
            assert values is not None
            moved = np.take(values, self._positions(use), axis=use.axis)
            arguments[use.argument] = constant_like(arguments[use.argument], moved)
        return with_arguments(call, arguments) if uses else None

    def _positions(self, use: Use) -> np.ndarray:
        """Where along its axis each position's values were; of a channel's positions, the first
        takes those of the first."""
        found = np.empty(len(use.channels), int)
        taken = np.argsort(self._comes_from[use.channels], kind="stable")
        found[taken] = np.argsort(use.channels, kind="stable")
        return found
