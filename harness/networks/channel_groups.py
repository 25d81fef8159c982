"""Which channels of a network go only together.

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

from harness.compiler.api import operator_name, relax, tvm
from harness.networks.flow import Flow, Follower, Use
from harness.networks.flow_rules import RULES, unknown
from harness.passes.rewriter import MAIN


@dataclass(frozen=True)
class ChannelGroup:
    """Channels, as `flow` numbers them, and the constants that they lie in, along an axis that may
    have other groups' channels too: `producers` are the layers that give them, `consumers` those
    that read them. `frozen` says why none can be removed; it is empty where they can."""

    channels: np.ndarray
    producers: tuple[Use, ...]
    consumers: tuple[Use, ...]
    frozen: str


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
            frozen=frozen,
        )
        for (_, frozen), channels in together.items()
    ]


def _of_role(uses: Iterable[Use], role: str) -> tuple[Use, ...]:
    return tuple(use for use in uses if use.role == role)
