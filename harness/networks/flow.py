"""Follows channels through a network: which positions of which axes belong to one channel.

Every position of an axis that a layer makes is a channel at first. Each operator's effect on it
(`flow_rules.py`) says which positions are the same channel: those that an addition joins, those
that a depthwise convolution reads and writes, the places of an image that is flattened. An axis
that is followed has the channel of each of its positions; an axis that is not, such as those of an
image or of the network's inputs, has none and keeps its extent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from harness.compiler.api import Constant, relax, shape_of

Axes = dict[int, np.ndarray]
"""The axes of a value that are followed, and the channel of each of their positions."""

Role = Literal["produces", "consumes", "accompanies"]


@dataclass(frozen=True)
class Use:
    """A constant whose values belong to channels: argument `argument` of the call that `variable`
    is bound to, along `axis`; `channels` has the channel of each position.

    A layer's weights produce channels along one axis and consume them along another; biases, scales
    and the weights of depthwise convolutions accompany them.
    """

    variable: relax.Var
    argument: int
    axis: int
    channels: np.ndarray
    role: Role


@dataclass(frozen=True)
class Flow:
    """The channels of a network, numbered from 0 in its order: the same for the same network.

    `places` are all axes that channels were followed along; `frozen` has the channels that cannot
    be removed, and why.
    """

    count: int
    axes: Mapping[relax.Var, Axes]
    uses: Mapping[relax.Var, tuple[Use, ...]]
    places: tuple[np.ndarray, ...]
    frozen: Mapping[int, str]


class Follower:
    """The state while a network is walked; `flow` is the result."""

    def __init__(self) -> None:
        self.axes: dict[relax.Var, Axes] = {}
        self.parts: dict[relax.Var, list[Axes]] = {}
        """Of a variable that is bound to a tuple."""
        self._count = 0
        self._uses: dict[relax.Var, list[Use]] = defaultdict(list)
        self._places: list[np.ndarray] = []
        self._same: list[tuple[np.ndarray, np.ndarray]] = []
        self._frozen: list[tuple[np.ndarray, str]] = []

    def fresh(self, extent: int) -> np.ndarray:
        """New channels, one a position."""
        self._count += extent
        return np.arange(self._count - extent, self._count)

    def same(self, one: np.ndarray, other: np.ndarray) -> None:
        """The channels of two axes are the same, position by position."""
        self._same.append((one, other))

    def freeze(self, channels: np.ndarray, why: str) -> None:
        """These channels cannot be removed."""
        self._frozen.append((channels, why))

    def freeze_value(self, value: relax.Expr, why: str, keep: Sequence[int] = ()) -> None:
        """No channel of a value can be removed, but those along the axes `keep`."""
        if isinstance(value, relax.Tuple):
            for field in value.fields:
                self.freeze_value(field, why)
            return
        for axes in self.parts.get(value, [self.of(value)]):
            for axis, channels in axes.items():
                if axis not in keep:
                    self.freeze(channels, why)

    def of(self, value: relax.Expr) -> Axes:
        """The axes of a value that are followed."""
        return self.axes.get(value, {}) if isinstance(value, relax.Var) else {}

    def use(
        self, variable: relax.Var, argument: int, axis: int, channels: np.ndarray, role: Role
    ) -> None:
        """A constant lies along channels, see `Use`."""
        self._uses[variable].append(Use(variable, argument, axis, channels, role))

    def define(self, variable: relax.Var, axes: Axes) -> None:
        """The channels of a variable."""
        self.axes[variable] = axes
        self._places.extend(axes.values())

    def define_parts(self, variable: relax.Var, parts: list[Axes]) -> None:
        """The channels of a variable that is bound to a tuple."""
        self.parts[variable] = parts
        self._places.extend(channels for axes in parts for channels in axes.values())

    def alias(self, variable: relax.Var, value: relax.Var) -> None:
        """A variable that is another one."""
        if value in self.parts:
            self.define_parts(variable, self.parts[value])
        else:
            self.define(variable, self.of(value))

    def joined(
        self,
        call: relax.Call,
        variable: relax.Var,
        arguments: Sequence[tuple[int, relax.Expr]],
        axes: Sequence[int],
    ) -> Axes:
        """Axes `axes` of a result whose operands (number of the argument and value) are broadcast
        to it: along each, all operands have the same channels.

        Positions that one operand has no channels for cannot be removed from the others; a constant
        can be cut as they are.
        """
        shape = shape_of(variable)
        found: Axes = {}
        for axis in axes:
            own = [(at, value, axis - len(shape) + len(shape_of(value))) for at, value in arguments]
            wide = [
                each for each in own if each[2] >= 0 and shape_of(each[1])[each[2]] == shape[axis]
            ]
            followed = [
                self.of(value)[along] for _, value, along in wide if along in self.of(value)
            ]
            if not followed:
                continue
            first, *others = followed
            for other in others:
                self.same(first, other)
            for at, value, along in wide:
                if isinstance(value, Constant):
                    self.use(variable, at, along, first, "accompanies")
                elif along not in self.of(value):
                    self.freeze(first, f"joined by {call.op.name} with a value without channels")
            found[axis] = first
        return found

    def flow(self) -> Flow:
        """All that was found, with one number for each channel."""
        numbers = self._numbers()
        frozen: dict[int, str] = {}
        for channels, why in self._frozen:
            for channel in np.unique(numbers[channels]):
                frozen.setdefault(int(channel), why)
        return Flow(
            count=int(numbers.max()) + 1 if len(numbers) else 0,
            axes={
                variable: {axis: numbers[channels] for axis, channels in axes.items()}
                for variable, axes in self.axes.items()
            },
            uses={
                variable: tuple(replace(use, channels=numbers[use.channels]) for use in uses)
                for variable, uses in self._uses.items()
            },
            places=tuple(numbers[channels] for channels in self._places),
            frozen=frozen,
        )

    def _numbers(self) -> np.ndarray:
        """The channel that each position became, numbered in the order of first positions."""
        if not self._count:
            return np.zeros(0, int)
        ones, others = (
            np.concatenate([pair[side] for pair in self._same] or [np.zeros(0, int)])
            for side in (0, 1)
        )
        joined = coo_array((np.ones(len(ones), bool), (ones, others)), [self._count] * 2)
        _, labels = connected_components(joined, directed=False)
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        order = np.empty(len(first), int)
        order[np.argsort(first)] = np.arange(len(first))
        return np.asarray(order[inverse.ravel()])
