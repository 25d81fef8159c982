"""Recurrent layers: LSTM, GRU and RNN as one kernel that loops over time.

What does not depend on an earlier step, the product of all inputs with their weights, comes as an
argument: it is one matrix product. A step adds the product of the state with the recurrent weights,
which are packed so that they are read one after the other, and applies the gates. Directions and
rows of the batch run in parallel, as they do not depend on each other.

A quantized layer has integer weights, and its state is quantized before each step. One scale is for
the states of all rows, so that rows of the batch run one after the other.

Gates are padded to whole vectors of `LANES` units. Formulas: operators LSTM, GRU and RNN of ONNX,
and DynamicQuantizeLSTM of ONNX Runtime, whose order of rounding is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.compiler.api import OPAQUE, PrimFunc, tirx
from harness.compiler.script import IRBuilder, T
from harness.kernels.blocks import OPERATIONS, SCHEDULED
from harness.kernels.quantized_steps import QuantizedStep, quantize
from harness.kernels.recurrent_steps import LANES, Cell, Form, Rows, Step, Value, vector_at


def _lstm(step: Step) -> None:
    """Gates: input, output, forget, cell. Peepholes: input, output, forget."""
    step.multiply("state", range(4), step.projected)
    for row, units in step.vectors():

        def gate(
            at: int, peephole: int, memory: Value, row: int = row, units: Value = units
        ) -> Value:
            if not step.form.peepholes:
                return step.gate(row, at, units)
            weights = step.of_direction("peepholes", peephole, units)
            return step.gate(row, at, units, step.product(weights, memory))

        before = T.bind(step.held("memory", row, units))
        given = T.bind(step.activated(0, gate(0, 0, before)))
        if step.form.input_forget:
            kept = step.number(1) - given
        else:
            kept = step.activated(0, gate(2, 2, before))
        new = step.product(given, step.activated(1, step.gate(row, 3, units)))
        now = T.bind(step.limited(step.product(kept, before) + new))
        out = step.activated(0, gate(1, 1, now))
        step.hold("memory", row, units, now)
        state = out * step.activated(2, now, clipped=False)
        step.hold("state", row, units, step.rounded(state))


def _gru(step: Step) -> None:
    """Gates: update, reset, hidden; hidden from the state after the reset."""
    step.multiply("state", range(2), step.projected)
    for row, units in step.vectors():
        reset = step.activated(0, step.gate(row, 1, units))
        step.hold("kept", row, units, reset * step.held("state", row, units))
    step.multiply("kept", range(2, 3), step.projected)
    for row, units in step.vectors():
        _update(step, row, units, step.gate(row, 2, units))


def _gru_reset_after(step: Step) -> None:
    """Gates: update, reset, hidden; the reset is applied to the state's part of hidden."""
    step.multiply("state", range(2), step.projected)
    step.multiply(
        "state", range(2, 3), lambda row, gate, units: step.of_direction("bias", 0, units)
    )
    for row, units in step.vectors():
        reset = step.activated(0, step.gate(row, 1, units))
        hidden = step.projected(row, 2, units) + reset * step.gate(row, 2, units)
        _update(step, row, units, hidden)


def _update(step: Step, row: int, units: Value, hidden: Value) -> None:
    update = T.bind(step.activated(0, step.gate(row, 0, units)))
    before = step.held("state", row, units)
    now = (step.number(1) - update) * step.activated(1, hidden) + update * before
    step.hold("state", row, units, now)


def _rnn(step: Step) -> None:
    step.multiply("state", range(1), step.projected)
    for row, units in step.vectors():
        step.hold("state", row, units, step.activated(0, step.gate(row, 0, units)))


LSTM = Cell(4, _lstm, memory=True)
GRU = Cell(3, _gru)
GRU_RESET_AFTER = Cell(3, _gru_reset_after, bias=True)
RNN = Cell(1, _rnn)


def recurrent(cell: Cell, form: Form) -> PrimFunc:
    """The kernel of a layer. Shapes, of D directions, T steps, B rows, H units, P units padded:

    projected [T, B, D·gates·P]; weights [D, gates·P / tile, H, tile]; then, for those that have
    them, lengths int32 [B], peepholes [D, 3, P], bias [D, 1, P], and, of quantized layers, whose
    weights are int16, scales and biases [D, gates, P]; state [D, B, H] and memory.
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
                "weights": argument(
                    "weights", form.directions, tiles, form.hidden, form.tile,
                    kind="int16" if form.quantized else dtype,
                ),
            }  # fmt: skip
            lengths = argument("lengths", form.batch, kind="int32") if form.lengths else None
            if form.peepholes:
                buffers["peepholes"] = argument("peepholes", form.directions, 3, form.padded)
            if cell.bias:
                buffers["bias"] = argument("bias", form.directions, 1, form.padded)
            if form.quantized:
                for name in ("scales", "biases"):
                    buffers[name] = argument(name, form.directions, form.gates, form.padded)
            names = ["state", "memory"] if cell.memory else ["state"]
            begun = {name: argument(f"begun_{name}", *states) for name in names}
            every = argument("every", form.steps, *states)
            last = {name: argument(f"last_{name}", *states) for name in names}
            pieces = form.batch // form.rows // form.together
            with T.parallel(form.directions * pieces) as piece:

                def groups() -> Iterator[Rows]:
                    with T.serial(form.together) as group:
                        first = (piece % pieces * form.together + group) * form.rows
                        yield Rows(form, piece // pieces, first, group * form.rows)

                _allocate(form, buffers)
                for rows in groups():
                    for name in names:
                        _load(rows, buffers[name], begun[name])
                with T.serial(form.steps) as turn:
                    if form.quantized:
                        quantize(form, buffers, lengths, turn)
                    for rows in groups():
                        _run(cell, rows, buffers, every, lengths, turn)
                for rows in groups():
                    for name in names:
                        _save(rows, buffers[name], last[name])
        products = form.steps * form.batch * form.directions * form.gates * form.hidden**2
        return builder.get().with_attr(OPERATIONS, 2 * products)


def _allocate(form: Form, buffers: dict[str, Any]) -> None:
    """Add what a piece of the kernel holds to the buffers."""
    held = form.together * form.rows
    scratch: dict[str, tuple[tuple[int, ...], str]] = {
        "state": ((held, form.padded), form.dtype),
        "memory": ((held, form.padded), form.dtype),
        "kept": ((form.rows, form.padded), form.dtype),
        "sums": ((form.rows, form.gates * form.padded), form.dtype),
    }
    if form.quantized:
        scratch |= {"integers": ((held, form.padded), "int16"), "scale": ((1,), form.dtype)}
    for name, (shape, dtype) in scratch.items():
        buffers[name] = T.alloc_buffer(shape, dtype)


def _run(
    cell: Cell, rows: Rows, buffers: Mapping[str, Any], every: Any, lengths: Any, turn: Value
) -> None:
    """One step of a group of rows. Beyond the end of a row's sequence states stay, and are 0 in
    the result."""
    form, direction, row = rows.form, rows.direction, rows.first
    length = T.bind(lengths[row]) if form.lengths else form.steps

    def run(time: Value) -> None:
        cell.step((QuantizedStep if form.quantized else Step)(rows, time, buffers))
        _save(rows, buffers["state"], every, time)

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


def _load(rows: Rows, held: Any, begun: Any) -> None:
    """Take a state in; units that pad it are 0."""
    form = rows.form
    for at in range(form.rows):
        with T.serial(form.padded) as unit:
            inside = T.if_then_else(
                unit < form.hidden,
                begun[rows.direction, rows.first + at, unit],
                tirx.const(0, form.dtype),
            )
            T.buffer_store(held, inside, [rows.held + at, unit])


def _save(rows: Rows, held: Any, result: Any, *time: Value) -> None:
    """Give a state out: whole vectors, then the units behind them."""
    form, whole = rows.form, rows.form.hidden // LANES * LANES

    def save(at: int, units: Value) -> None:
        place = [*time, rows.direction, rows.first + at, units]
        T.buffer_store(result, held[rows.held + at, units], place)

    for at in range(form.rows):
        if whole:
            with T.serial(whole // LANES) as vector:
                save(at, vector_at(vector * LANES))
        if form.hidden > whole:
            with T.serial(form.hidden - whole) as rest:
                save(at, whole + rest)
