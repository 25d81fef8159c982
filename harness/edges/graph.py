"""The edge graph of a network: which layers feed which, and which channels go only together.

A channel group has the channels that lie in the same places: along the same axes of the same
values, and so in the weights of the same layers. Where one of them is removed it is from all of
those. A residual connection makes one group of the outputs of all layers it adds up; of a
concatenation every part is a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.edges.flow import Flow, Follower, Use
from harness.edges.flow_rules import RULES, unknown
from harness.edges.layers import layers_of
from harness.passes.rewriter import MAIN
from harness.tvm_api import constant_array, operator_name, relax, tvm


@dataclass(frozen=True)
class ChannelGroup:
    """Channels, as `flow` numbers them, and the constants that they lie in, along an axis that may
    have other groups' channels too: `producers` are the layers that give them, `consumers` those
    that read them. `frozen` says why none can be removed; it is empty where they can."""

    channels: np.ndarray
    producers: tuple[Use, ...]
    consumers: tuple[Use, ...]
    accompanying: tuple[Use, ...]
    frozen: str


@dataclass(frozen=True)
class Node:
    """A layer, or a convolution in groups, which has no edges to prune. `sources` and `readers` are
    the names of what is connected with it by values that no other node computes; the network's
    inputs have their own names, its outputs are `output`."""

    name: str
    variable: relax.Var
    sources: tuple[str, ...]
    readers: tuple[str, ...]


def follow(module: tvm.IRModule) -> Flow:
    """The channels of a canonical network (A-normal form, as imported: NCHW)."""
    function, follower = module[MAIN], Follower()
    for block in function.body.blocks:
        for binding in block.bindings:
            value, variable = binding.value, binding.var
            if isinstance(value, relax.Var):
                follower.alias(variable, value)
            elif isinstance(value, relax.Tuple):
                follower.define_parts(variable, [follower.of(field) for field in value.fields])
            elif isinstance(value, relax.TupleGetItem):
                parts = follower.parts.get(value.tuple_value, [])
                follower.define(variable, parts[value.index] if parts else {})
            elif isinstance(value, relax.Call):
                rule = RULES.get(operator_name(value), unknown)
                follower.define(variable, rule(follower, value, variable))
    follower.freeze_value(function.body.body, "an output of the network")
    return follower.flow()


def channel_groups(flow: Flow) -> list[ChannelGroup]:
    """All groups, in the order of their first channels. Every axis that channels were followed
    along has whole groups, so that none is emptied where no group is."""
    places: dict[int, list[int]] = defaultdict(list)
    for at, channels in enumerate(flow.places):
        for channel in np.unique(channels):
            places[int(channel)].append(at)
    together: dict[tuple[tuple[int, ...], str], list[int]] = defaultdict(list)
    for channel in range(flow.count):
        together[tuple(places[channel]), flow.frozen.get(channel, "")].append(channel)
    uses_of: dict[int, list[Use]] = defaultdict(list)
    for use in (use for uses in flow.uses.values() for use in uses):
        for channel in np.unique(use.channels):
            uses_of[int(channel)].append(use)
    return [
        ChannelGroup(
            channels=np.array(channels),
            producers=_of_role(uses_of[channels[0]], "produces"),
            consumers=_of_role(uses_of[channels[0]], "consumes"),
            accompanying=_of_role(uses_of[channels[0]], "accompanies"),
            frozen=frozen,
        )
        for (_, frozen), channels in together.items()
    ]


def _of_role(uses: Iterable[Use], role: str) -> tuple[Use, ...]:
    return tuple(use for use in uses if use.role == role)


def nodes_of(module: tvm.IRModule) -> list[Node]:
    """What a network's edges connect, in its order."""
    function = module[MAIN]
    names = {layer.variable: layer.name for layer in layers_of(module)}
    feeding: dict[relax.Var, tuple[str, ...]] = {
        parameter: (str(parameter.name),) for parameter in function.params
    }
    found: dict[relax.Var, tuple[str, ...]] = {}
    readers: dict[str, list[str]] = defaultdict(list)
    grouped = 0
    for block in function.body.blocks:
        for binding in block.bindings:
            variable, sources = binding.var, _sources(binding.value, feeding)
            if variable not in names and _in_groups(binding.value):
                names[variable] = f"grouped{grouped}"
                grouped += 1
            feeding[variable] = sources
            if variable in names:
                found[variable] = sources
                feeding[variable] = (names[variable],)
                for source in sources:
                    readers[source].append(names[variable])
    for source in _sources(function.body.body, feeding):
        readers[source].append("output")
    return [
        Node(names[variable], variable, sources, tuple(readers[names[variable]]))
        for variable, sources in found.items()
    ]


def _sources(value: relax.Expr, feeding: dict[relax.Var, tuple[str, ...]]) -> tuple[str, ...]:
    """The nodes that a value depends on, each once, by what they feed."""
    if isinstance(value, relax.Var):
        return feeding[value]
    inside: Iterable[relax.Expr] = ()
    if isinstance(value, relax.Call):
        inside = value.args
    elif isinstance(value, relax.Tuple):
        inside = value.fields
    elif isinstance(value, relax.TupleGetItem):
        inside = (value.tuple_value,)
    named = (name for part in inside for name in _sources(part, feeding))
    return tuple(dict.fromkeys(named))


def _in_groups(value: relax.Expr) -> bool:
    return (
        operator_name(value) in {"relax.nn.conv1d", "relax.nn.conv2d"}
        and constant_array(value.args[1]) is not None
        and int(value.attrs.groups) != 1
    )
