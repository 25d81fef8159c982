"""Recurrent layers: LSTM, GRU and RNN as one kernel that loops over time.

What does not depend on an earlier step, the product of all inputs with their weights, comes as an
argument: it is one matrix product. A step adds the product of the state with the recurrent weights,
which are packed so that they are read one after the other, and applies the gates. Directions and
rows of the batch run in parallel, as they do not depend on each other.

Gates are padded to whole vectors of `LANES` units. Formulas: operators LSTM, GRU and RNN of ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.compiler.api import OPAQUE, PrimFunc, tirx
from harness.compiler.script import IRBuilder, T
from harness.kernels.blocks import OPERATIONS, SCHEDULED

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
    step: Callable[[_Step], None]
    memory: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Form:
    """What the attributes of a layer say: the activations of each direction; whether the one or the
    first of two directions begins at the end; the extents."""

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
        """The rows of the batch that share what they load of the weights."""
        if self.lengths:
            return 1  # others are at another step
        return next(rows for rows in (4, 2, 1) if self.batch % rows == 0)

    @property
    def tile(self) -> int:
        """The columns of the recurrent weights that are read together; they divide a gate's."""
        return max(LANES, math.gcd(self.padded, _ACCUMULATORS // self.rows))


class _Step:
    """One step of some rows of the batch: `time` is the place in the sequence, `row` the first row.
    Values are vectors of a row's units."""

    def __init__(
        self, form: Form, direction: Value, time: Value, row: Value, buffers: Mapping[str, Any]
    ) -> None:
        self.form = form
        self._direction, self._time, self._row = direction, time, row
        self._buffers = buffers

    def vectors(self) -> Iterator[tuple[int, Value]]:
        """The vectors of each row, in a loop."""
        for row in range(self.form.rows):
            with T.serial(self.form.padded // LANES) as vector:
                yield row, vector * LANES

    def projected(self, row: int, gate: int, units: Value) -> Value:
        """The inputs' part of a gate."""
        column = (self._direction * self.form.gates + gate) * self.form.padded
        return self._buffers["projected"][self._time, self._row + row, _vector(column + units)]

    def of_direction(self, name: str, at: int, units: Value) -> Value:
        """A weight of each unit: of a direction's `peepholes`, or its `bias`."""
        return self._buffers[name][self._direction, at, _vector(units)]

    def held(self, name: str, row: int, units: Value) -> Value:
        """The `state` or the `memory` before this step."""
        return self._buffers[name][row, _vector(units)]

    def hold(self, name: str, row: int, units: Value, value: Value) -> None:
        """Set the `state` or the `memory`, or the state that a reset was applied to, `kept`."""
        T.buffer_store(self._buffers[name], value, [row, _vector(units)])

    def gate(self, row: int, gate: int, units: Value) -> Value:
        """A gate that `multiply` computed."""
        return self._buffers["sums"][row, _vector(gate * self.form.padded + units)]

    def multiply(self, name: str, gates: range, start: Callable[[int, int, Value], Value]) -> None:
        """Compute gates, before their activations: `start`, of row, gate and units, plus the
        product of a state with the gates' recurrent weights."""
        form, state, weights = self.form, self._buffers[name], self._buffers["weights"]
        sums, parts = self._buffers["sums"], form.tile // LANES
        for gate in gates:
            with T.serial(form.padded // form.tile) as tile:
                held = T.alloc_buffer((form.rows * form.tile,), form.dtype, scope="local")
                places = [
                    (row, part, _vector(row * form.tile + part * LANES))
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
                                _vector(part * LANES),
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
                    T.buffer_store(sums, held[place], [row, _vector(first)])

    def activated(self, at: int, value: Value) -> Value:
        """The direction's activation number `at` of a value."""
        if self.form.clip is not None:
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


def _lstm(step: _Step) -> None:
    """Gates: input, output, forget, cell. Peepholes: input, output, forget."""
    step.multiply("state", range(4), step.projected)
    for row, units in step.vectors():
        before = T.bind(step.held("memory", row, units))
        given, out, forget, cell = (step.gate(row, gate, units) for gate in range(4))
        if step.form.peepholes:
            given = given + step.of_direction("peepholes", 0, units) * before
            forget = forget + step.of_direction("peepholes", 2, units) * before
        given = T.bind(step.activated(0, given))
        kept = step.number(1) - given if step.form.input_forget else step.activated(0, forget)
        now = T.bind(step.limited(kept * before + given * step.activated(1, cell)))
        if step.form.peepholes:
            out = out + step.of_direction("peepholes", 1, units) * now
        step.hold("memory", row, units, now)
        state = step.activated(0, out) * step.activated(2, now)
        step.hold("state", row, units, step.rounded(state))


def _gru(step: _Step) -> None:
    """Gates: update, reset, hidden; hidden from the state after the reset."""
    step.multiply("state", range(2), step.projected)
    for row, units in step.vectors():
        reset = step.activated(0, step.gate(row, 1, units))
        step.hold("kept", row, units, reset * step.held("state", row, units))
    step.multiply("kept", range(2, 3), step.projected)
    for row, units in step.vectors():
        _update(step, row, units, step.gate(row, 2, units))


def _gru_reset_after(step: _Step) -> None:
    """Gates: update, reset, hidden; the reset is applied to the state's part of hidden."""
    step.multiply("state", range(2), step.projected)
    step.multiply(
        "state", range(2, 3), lambda row, gate, units: step.of_direction("bias", 0, units)
    )
    for row, units in step.vectors():
        reset = step.activated(0, step.gate(row, 1, units))
        hidden = step.projected(row, 2, units) + reset * step.gate(row, 2, units)
        _update(step, row, units, hidden)


def _update(step: _Step, row: int, units: Value, hidden: Value) -> None:
    update = T.bind(step.activated(0, step.gate(row, 0, units)))
    before = step.held("state", row, units)
    now = (step.number(1) - update) * step.activated(1, hidden) + update * before
    step.hold("state", row, units, now)


def _rnn(step: _Step) -> None:
    step.multiply("state", range(1), step.projected)
    for row, units in step.vectors():
        step.hold("state", row, units, step.activated(0, step.gate(row, 0, units)))


LSTM = Cell(4, _lstm, memory=True)
GRU = Cell(3, _gru)
GRU_RESET_AFTER = Cell(3, _gru_reset_after, bias=True)
RNN = Cell(1, _rnn)


def _vector(start: Value) -> Value:
    """The places of a vector that begins at one."""
    return T.Ramp(start, 1, LANES)


def recurrent(cell: Cell, form: Form) -> PrimFunc:
    """The kernel of a layer. Shapes, of D directions, T steps, B rows, H units, P units padded:

    projected [T, B, D·gates·P]; weights [D, gates·P / tile, H, tile]; then, for those that have
    them, lengths int32 [B], peepholes [D, 3, P], bias [D, 1, P]; state [D, B, H] and memory.
    Results: all states [T, D, B, H], the last state [D, B, H], the last memory [D, B, H].
    """
    states, dtype = (form.directions, form.batch, form.hidden), form.dtype
    columns = form.directions * form.gates * form.padded
    tiles = form.gates * form.padded // form.tile
    with IRBuilder() as builder:
        with T.prim_func():
            T.func_name("recurrent")
            T.func_attr({"tirx.noalias": True, SCHEDULED: True, "op_pattern": OPAQUE})

            def argument(name: str, *shape: int, kind: str = dtype) -> Any:
                return T.arg(name, T.buffer(shape, kind))

            buffers = {
                "projected": argument("projected", form.steps, form.batch, columns),
                "weights": argument("weights", form.directions, tiles, form.hidden, form.tile),
            }
            lengths = argument("lengths", form.batch, kind="int32") if form.lengths else None
            if form.peepholes:
                buffers["peepholes"] = argument("peepholes", form.directions, 3, form.padded)
            if cell.bias:
                buffers["bias"] = argument("bias", form.directions, 1, form.padded)
            names = ["state", "memory"] if cell.memory else ["state"]
            begun = {name: argument(f"begun_{name}", *states) for name in names}
            every = argument("every", form.steps, *states)
            last = {name: argument(f"last_{name}", *states) for name in names}
            groups = form.batch // form.rows
            with T.parallel(form.directions * groups) as piece:
                direction, row = piece // groups, piece % groups * form.rows
                scratch = {
                    "state": form.padded, "kept": form.padded, "memory": form.padded,
                    "sums": form.gates * form.padded,
                }  # fmt: skip
                for name, width in scratch.items():
                    buffers[name] = T.alloc_buffer((form.rows, width), dtype)
                for name in names:
                    _load(form, buffers[name], begun[name], direction, row)
                with T.serial(form.steps) as turn:
                    _run(cell, form, buffers, every, lengths, direction, row, turn)
                for name in names:
                    _save(form, buffers[name], last[name], [direction], row)
        products = form.steps * form.batch * form.directions * form.gates * form.hidden**2
        return builder.get().with_attr(OPERATIONS, 2 * products)


def _run(
    cell: Cell,
    form: Form,
    buffers: Mapping[str, Any],
    every: Any,
    lengths: Any,
    direction: Value,
    row: Value,
    turn: Value,
) -> None:
    """One step of a group of rows. Beyond the end of a row's sequence states stay, and are 0 in
    the result."""
    length = T.bind(lengths[row]) if form.lengths else form.steps

    def run(time: Value) -> None:
        cell.step(_Step(form, direction, time, row, buffers))
        _save(form, buffers["state"], every, [time, direction], row)

    backward = direction if form.directions == 2 else int(form.reverse)
    time = turn + backward * (length - 1 - 2 * turn)
    if not form.lengths:
        run(time)
        return
    with T.If(turn < length):
        with T.Then():
            run(time)
        with T.Else(), T.serial(form.hidden) as unit:
            T.buffer_store(every, tirx.const(0, form.dtype), [turn, direction, row, unit])


def _load(form: Form, held: Any, begun: Any, direction: Value, row: Value) -> None:
    """Take a state in; units that pad it are 0."""
    for at in range(form.rows):
        with T.serial(form.padded) as unit:
            inside = T.if_then_else(
                unit < form.hidden, begun[direction, row + at, unit], tirx.const(0, form.dtype)
            )
            T.buffer_store(held, inside, [at, unit])


def _save(form: Form, held: Any, result: Any, outer: Sequence[Value], row: Value) -> None:
    """Give a state out: whole vectors, then the units behind them."""
    whole = form.hidden // LANES * LANES
    for at in range(form.rows):
        if whole:
            with T.serial(whole // LANES) as vector:
                units = _vector(vector * LANES)
                T.buffer_store(result, held[at, units], [*outer, row + at, units])
        if form.hidden > whole:
            with T.serial(form.hidden - whole) as rest:
                T.buffer_store(result, held[at, whole + rest], [*outer, row + at, whole + rest])
