"""What recurrent layers do in one step: their forms, and steps of real numbers.

Gates are padded to whole vectors of `LANES` units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.compiler.api import tirx
from harness.compiler.script import T

LANES = 16
"""Units of a vector: one of AVX-512, two of AVX2, four of NEON in single precision."""
_ACCUMULATORS = 64
"""Sums that a tile holds in registers."""

Value: TypeAlias = Any
Function: TypeAlias = Callable[[Value], Value]


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent layer: how many gates it has, and what a step does. `memory` says that a
    second state goes from step to step, `bias` that a gate has one of its own for the state."""

    gates: int
    step: Callable[[Step], None]
    memory: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Form:
    """What the attributes of a layer say: the activations of each direction; whether the one or the
    first of two directions begins at the end; the extents; whether it is `quantized`."""

    activations: Sequence[Sequence[Function]]
    reverse: bool
    gates: int
    steps: int
    batch: int
    hidden: int
    dtype: str
    lengths: bool = False
    peepholes: bool = False
    input_forget: bool = False
    clip: float | None = None
    cell_clip: float | None = None
    rounded: tuple[float, int] | None = None
    """The step and the zero point of a state that is kept in 8-bit integers."""
    quantized: bool = False

    @property
    def directions(self) -> int:
        """One or two."""
        return len(self.activations)

    @property
    def padded(self) -> int:
        """The units of a gate, in whole vectors."""
        return math.ceil(self.hidden / LANES) * LANES

    @property
    def rows(self) -> int:
        """The rows of the batch that share what they load of the weights: a group."""
        if self.lengths:
            return 1  # others are at another step
        return next(rows for rows in (4, 2, 1) if self.batch % rows == 0)

    @property
    def together(self) -> int:
        """The groups of rows that take each step together, as one scale is for all their states."""
        return self.batch // self.rows if self.quantized else 1

    @property
    def tile(self) -> int:
        """The columns of the recurrent weights that are read together; they divide a gate's."""
        return max(LANES, math.gcd(self.padded, _ACCUMULATORS // self.rows))


@dataclass(frozen=True)
class Rows:
    """Some rows of the batch: `first` is the place of the first, and `held` its place in the states
    that a piece of the kernel holds."""

    form: Form
    direction: Value
    first: Value
    held: Value


class Step:
    """One step of some rows of the batch; `time` is the place in the sequence. Values are vectors
    of a row's units."""

    def __init__(self, rows: Rows, time: Value, buffers: Mapping[str, Any]) -> None:
        self.form = rows.form
        self._direction, self._time, self._row = rows.direction, time, rows.first
        self._held = rows.held
        self._buffers = buffers

    def vectors(self) -> Iterator[tuple[int, Value]]:
        """The vectors of each row, in a loop."""
        for row in range(self.form.rows):
            with T.serial(self.form.padded // LANES) as vector:
                yield row, vector * LANES

    def projected(self, row: int, gate: int, units: Value) -> Value:
        """The inputs' part of a gate."""
        column = (self._direction * self.form.gates + gate) * self.form.padded
        return self._buffers["projected"][self._time, self._row + row, vector_at(column + units)]

    def of_direction(self, name: str, at: int, units: Value) -> Value:
        """A weight of each unit: of a direction's `peepholes`, or its `bias`."""
        return self._buffers[name][self._direction, at, vector_at(units)]

    def held(self, name: str, row: int, units: Value) -> Value:
        """The `state` or the `memory` before this step."""
        return self._buffers[name][self._held + row, vector_at(units)]

    def hold(self, name: str, row: int, units: Value, value: Value) -> None:
        """Set the `state` or the `memory`, or the state that a reset was applied to, `kept`."""
        T.buffer_store(self._buffers[name], value, [self._held + row, vector_at(units)])

    def gate(self, row: int, gate: int, units: Value, added: Value | None = None) -> Value:
        """A gate that `multiply` computed, with something added to it."""
        value = self._buffers["sums"][row, vector_at(gate * self.form.padded + units)]
        return value if added is None else value + added

    def multiply(self, name: str, gates: range, start: Callable[[int, int, Value], Value]) -> None:
        """Compute gates, before their activations: `start`, of row, gate and units, plus the
        product of a state with the gates' recurrent weights."""
        form, state, weights = self.form, self._buffers[name], self._buffers["weights"]
        sums, parts = self._buffers["sums"], form.tile // LANES
        for gate in gates:
            with T.serial(form.padded // form.tile) as tile:
                held = T.alloc_buffer((form.rows * form.tile,), form.dtype, scope="local")
                places = [
                    (row, part, vector_at(row * form.tile + part * LANES))
                    for row in range(form.rows)
                    for part in range(parts)
                ]
                for row, part, place in places:
                    units = tile * form.tile + part * LANES
                    T.buffer_store(held, start(row, gate, units), [place])
                with T.serial(form.hidden) as unit:
                    loaded = [
                        T.bind(
                            weights[
                                self._direction,
                                gate * (form.padded // form.tile) + tile,
                                unit,
                                vector_at(part * LANES),
                            ]
                        )
                        for part in range(parts)
                    ]
                    given = [
                        T.bind(T.Broadcast(state[row, unit], LANES)) for row in range(form.rows)
                    ]
                    for row, part, place in places:
                        T.buffer_store(held, held[place] + given[row] * loaded[part], [place])
                for row, part, place in places:
                    first = gate * form.padded + tile * form.tile + part * LANES
                    T.buffer_store(sums, held[place], [row, vector_at(first)])

    def product(self, one: Value, other: Value) -> Value:
        """A product that something is added to."""
        return one * other

    def activated(self, at: int, value: Value, clipped: bool = True) -> Value:
        """The direction's activation number `at` of a value, which is clipped where it is a gate's:
        ONNX Runtime does not clip an LSTM's memory."""
        if self.form.clip is not None and clipped:
            bound = self.number(self.form.clip)
            value = T.min(T.max(value, self.number(-self.form.clip)), bound)
        found = [functions[at](value) for functions in self.form.activations]
        if len(found) == 1 or self.form.activations[0][at] is self.form.activations[1][at]:
            return found[0]
        return T.Select(T.Broadcast(self._direction == 0, LANES), *found)

    def limited(self, memory: Value) -> Value:
        """The memory within its bound, if it has one."""
        bound = self.form.cell_clip
        return memory if bound is None else self._within(memory, -bound, bound)

    def rounded(self, state: Value) -> Value:
        """The state as integers hold it, if they do."""
        if self.form.rounded is None:
            return state
        step, zero = self.form.rounded
        places = self._within(T.round(state / self.number(step)), -128 - zero, 127 - zero)
        return places * self.number(step)

    def _within(self, value: Value, low: float, high: float) -> Value:
        return T.min(T.max(value, self.number(low)), self.number(high))

    def number(self, value: float) -> Value:
        """A vector of one number."""
        return T.Broadcast(tirx.const(value, self.form.dtype), LANES)


def vector_at(start: Value) -> Value:
    """The places of a vector that begins at one."""
    return T.Ramp(start, 1, LANES)
