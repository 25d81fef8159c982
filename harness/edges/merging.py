"""A network that computes the same with fewer edges: exact but for rounding.

- Layers with nothing between them become one (`linear_chains.py`), equal branches too.
- A channel that is one number for every input is folded into the biases of its readers; one
  that is the same as another is read by the other's edges.
- A channel that no layer reads goes, with the edges that lead to it.

Normalisations and scales are folded when a network is imported (`passes/canonicalise.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.edges.linear_chains import MergeLinearChains
from harness.edges.patterns import block_of
from harness.edges.shrinking import KeepChannels
from harness.networks.channel_groups import ChannelGroup, channel_groups, follow
from harness.networks.channel_values import Known, channel_values
from harness.networks.flow import Flow, Use
from harness.networks.layers import Layer, layers_of
from harness.passes.channel_arithmetic import FoldChannelArithmetic
from harness.passes.rewriter import Rewriter, with_arguments
from harness.records.record import Compression
from harness.specs.patterns import traits_of

_MOST_TIMES = 10


def merge(
    module: tvm.IRModule, summary: Compression, lanes: int
) -> tuple[tvm.IRModule, Compression]:
    """A compressed network with fewer edges that computes the same, and its whole compression.
    `lanes` is the vector width of the target in weights."""
    width = max(lanes, block_of(summary.pattern, lanes).outputs)
    smaller = merged(module, width, in_vectors=traits_of(summary.pattern).in_blocks)
    gone = _edges(module, np.count_nonzero) - _edges(smaller, np.count_nonzero)
    return smaller, summary.model_copy(update={"parameters_merged": gone})


def merged(module: tvm.IRModule, lanes: int, in_vectors: bool) -> tvm.IRModule:
    """A canonical network that computes the same with fewer edges, if there are any to merge.

    Groups of at least `lanes` channels become whole vectors of those, or stay as they are; with
    `in_vectors` only whole vectors of channels go, such that blocks of edges stay whole.
    """
    for _ in range(_MOST_TIMES):
        before = _edges(module, np.size)
        module = relax.transform.EliminateCommonSubexpr()(module)
        module = MergeLinearChains.apply(module)
        module = _without_unread(_with_folded_channels(module), lanes, in_vectors)
        if _edges(module, np.size) >= before:
            break
    return module


def _edges(module: tvm.IRModule, count: Callable[[np.ndarray], int]) -> int:
    return sum(int(count(layer.weights)) for layer in layers_of(module))


@dataclass(frozen=True)
class _Reader:
    """A layer that reads channels: its weights `[taps, inputs, outputs]`, the numbers to add to
    its outputs, and the known values of its inputs."""

    layer: Layer
    use: Use
    weights: np.ndarray
    shift: np.ndarray
    inputs: np.ndarray
    kinds: np.ndarray

    def positions(self, channel: int) -> np.ndarray:
        return np.flatnonzero(self.use.channels == channel)

    def takes_numbers(self, channel: int) -> bool:
        """Whether a channel is a number in all that this layer sees of it: padding is 0."""
        numbers = self.inputs[self.positions(channel)]
        if operator_name(self.layer.call) != "relax.matmul" and any(
            int(padding) for padding in self.layer.call.attrs.padding
        ):
            return bool((numbers == 0).all())
        return bool(np.isfinite(numbers).all())

    def fold(self, channel: int) -> None:
        """A channel of numbers is a bias."""
        at = self.positions(channel)
        self.shift[:] += np.einsum("i,tio->o", self.inputs[at], self.weights[:, at])
        self.weights[:, at] = 0

    def redirect(self, channel: int, other: int) -> None:
        """Readers of a channel read another one that is the same."""
        at = self.positions(channel)
        self.weights[:, self.positions(other)] += self.weights[:, at]
        self.weights[:, at] = 0


def _with_folded_channels(module: tvm.IRModule) -> tvm.IRModule:
    """No layer reads channels that are numbers, or the same as others."""
    flow = follow(module)
    readers = _readers(module, flow, channel_values(module, flow))
    for group in channel_groups(flow):
        reading = [readers.get(use.variable) for use in group.consumers]
        if group.frozen or None in reading:
            continue
        _fold_group(group, [reader for reader in reading if reader is not None])
    changed = {
        variable: reader
        for variable, reader in readers.items()
        if not np.array_equal(reader.weights, _apart(reader.layer))
    }
    return FoldChannelArithmetic.apply(_Fold.apply(module, changed)) if changed else module


def _readers(module: tvm.IRModule, flow: Flow, known: Known) -> dict[relax.Var, _Reader]:
    found = {}
    for layer in layers_of(module):
        values = known.get(layer.call.args[0])
        for use in flow.uses.get(layer.variable, ()):
            if use.role == "consumes" and values is not None:
                weights = _apart(layer)
                shift = np.zeros(weights.shape[2])
                found[layer.variable] = _Reader(
                    layer, use, weights, shift, values.number, values.kind
                )
    return found


def _apart(layer: Layer) -> np.ndarray:
    """A layer's weights, `[taps, inputs, outputs]`."""
    inputs, outputs = (layer.weights.shape[axis] for axis in layer.axes[-2:])
    return layer.matrix.astype(np.float64).reshape(-1, inputs, outputs)


def _fold_group(group: ChannelGroup, readers: list[_Reader]) -> None:
    first: dict[tuple[bytes, ...], int] = {}
    for channel in (int(each) for each in group.channels):
        if all(reader.takes_numbers(channel) for reader in readers):
            for reader in readers:
                reader.fold(channel)
            continue
        seen = tuple(reader.kinds[reader.positions(channel)].tobytes() for reader in readers)
        other = first.setdefault(seen, channel)
        if other != channel:
            for reader in readers:
                reader.redirect(channel, other)


class _Fold(Rewriter):
    """The layers of `readers` with their new weights, and the numbers to add to them."""

    def __init__(self, module: tvm.IRModule, readers: Mapping[relax.Var, _Reader]) -> None:
        super().__init__(module)
        self._readers = readers

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        reader = self._readers.get(original.var)
        if reader is None:
            return None
        matrix = reader.weights.reshape(-1, reader.weights.shape[2]).astype(np.float32)
        weights = constant_like(call.args[1], reader.layer.stored(matrix))
        layer = with_arguments(call, [call.args[0], weights])
        if not reader.shift.any():
            return layer
        shape = [1] * len(shape_of(original.var))
        shape[reader.layer.channel_axis] = -1
        shift = constant(reader.shift.reshape(shape).astype(np.float32))
        return relax.op.add(self.emit(layer), shift)


def _without_unread(module: tvm.IRModule, lanes: int, in_vectors: bool) -> tvm.IRModule:
    """Without the channels that no layer has an edge from."""
    flow = follow(module)
    layers = {layer.variable: layer for layer in layers_of(module)}
    keep = np.ones(flow.count, bool)
    for group in channel_groups(flow):
        if group.frozen or any(use.variable not in layers for use in group.consumers):
            continue
        read = np.zeros(flow.count, bool)
        for use in group.consumers:
            rows = _apart(layers[use.variable]).any(axis=(0, 2))
            read[use.channels[rows]] = True
        keep[group.channels] = _kept(read[group.channels], group, lanes, in_vectors)
    return module if keep.all() else KeepChannels.apply(module, flow, keep)


def _kept(read: np.ndarray, group: ChannelGroup, lanes: int, in_vectors: bool) -> np.ndarray:
    """Which of a group's channels stay so that vectors are whole; at least one does."""
    width = len(read)
    if in_vectors:
        if width % lanes or not all(_in_vectors(use, group, lanes) for use in group.producers):
            return np.ones(width, bool)
        kept = np.repeat(read.reshape(-1, lanes).any(axis=1), lanes)
        kept[:lanes] |= not kept.any()
        return kept
    count = max(1, int(read.sum()))
    if width >= lanes:
        count = min(width, -(-count // lanes) * lanes)
    kept = np.zeros(width, bool)
    kept[np.argsort(~read, kind="stable")[:count]] = True
    return kept


def _in_vectors(use: Use, group: ChannelGroup, lanes: int) -> bool:
    """Whether a group's channels are whole vectors of a layer's outputs, in the group's order."""
    begin = int(np.argmax(use.channels == group.channels[0]))
    there = use.channels[begin : begin + len(group.channels)]
    return begin % lanes == 0 and np.array_equal(there, group.channels)
