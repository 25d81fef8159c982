"""Steps of quantized recurrent layers: weights are integers, the states of all rows are quantized
before each step, and the products of both are summed in 32 bits.

Formulas: DynamicQuantizeLSTM of ONNX Runtime, whose order of rounding is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.compiler.api import tirx
from harness.compiler.script import T
from harness.kernels.recurrent_steps import LANES, Form, Step, Value, vector_at

_STEPS = 255
"""Steps of a range that 8 bits divide it into."""
_LARGEST = float(np.finfo(np.float32).max)


class QuantizedStep(Step):
    """A step of a quantized layer: the product of the state is one of integers, summed in 32 bits.
    Sums are rounded as often as in ONNX Runtime: nothing is fused."""

    def product(self, one: Value, other: Value) -> Value:
        # The bound, which no product reaches, keeps LLVM from fusing it with an addition.
        return T.min(one * other, self.number(_LARGEST))

    def gate(self, row: int, gate: int, units: Value, added: Value | None = None) -> Value:
        return super().gate(row, gate, units, added) + self.of_direction("biases", gate, units)

    def multiply(self, name: str, gates: range, start: Callable[[int, int, Value], Value]) -> None:
        form, weights = self.form, self._buffers["weights"]
        state, scale = self._buffers["integers"], self._buffers["scale"]
        parts, tiles = form.tile // LANES, form.padded // form.tile
        for gate in gates:
            with T.serial(tiles) as tile:
                held = T.alloc_buffer((form.rows * form.tile,), "int32", scope="local")
                places = [
                    (row, part, vector_at(row * form.tile + part * LANES))
                    for row in range(form.rows)
                    for part in range(parts)
                ]
                for _, _, place in places:
                    T.buffer_store(held, T.Broadcast(tirx.const(0, "int32"), LANES), [place])
                with T.serial(form.hidden) as unit:
                    at = (self._direction, gate * tiles + tile, unit)
                    loaded = [
                        T.bind(T.Cast(f"int32x{LANES}", weights[(*at, vector_at(part * LANES))]))
                        for part in range(parts)
                    ]
                    given = [
                        T.bind(T.Broadcast(T.Cast("int32", state[self._held + row, unit]), LANES))
                        for row in range(form.rows)
                    ]
                    for row, part, place in places:
                        T.buffer_store(held, held[place] + given[row] * loaded[part], [place])
                for row, part, place in places:
                    units = tile * form.tile + part * LANES
                    total = T.Cast(f"{form.dtype}x{LANES}", held[place])
                    factor = T.Broadcast(scale[0], LANES) * self.of_direction("scales", gate, units)
                    value = start(row, gate, units) + self.product(total, factor)
                    T.buffer_store(
                        self._buffers["sums"], value, [row, vector_at(gate * form.padded + units)]
                    )


def quantize(form: Form, buffers: Mapping[str, Any], lengths: Any, turn: Value) -> None:
    """Quantize the states of all rows by their range and 0, to integers less their zero point. The
    state of a row counts up to the step after its last one, as in ONNX Runtime; then it is 0."""
    state, scale = buffers["state"], buffers["scale"]
    bounds = [T.alloc_buffer((LANES,), form.dtype, scope="local") for _ in range(2)]
    zero = T.Broadcast(tirx.const(0, form.dtype), LANES)
    for bound in bounds:
        T.buffer_store(bound, zero, [vector_at(0)])
    with T.serial(form.batch) as row, T.serial(form.padded // LANES) as vector:
        units = vector_at(vector * LANES)
        value = state[row, units]
        if form.lengths:
            value = T.Select(T.Broadcast(turn <= lengths[row], LANES), value, zero)
        if form.padded > form.hidden:
            value = T.Select(units < T.Broadcast(form.hidden, LANES), value, zero)
        value = T.bind(value)
        for bound, extreme in zip(bounds, (T.min, T.max), strict=True):
            T.buffer_store(bound, extreme(bound[vector_at(0)], value), [vector_at(0)])
    with T.serial(1, LANES) as lane:
        for bound, extreme in zip(bounds, (T.min, T.max), strict=True):
            T.buffer_store(bound, extreme(bound[0], bound[lane]), [0])
    low, high = (T.bind(bound[0]) for bound in bounds)
    # A divisor that TVM knows would become a factor, which rounds twice.
    T.buffer_store(scale, tirx.const(_STEPS, form.dtype), [0])
    step = T.bind(T.Select(low == high, tirx.const(1, form.dtype), (high - low) / scale[0]))
    T.buffer_store(scale, step, [0])
    ends = [tirx.const(end, form.dtype) for end in (0, _STEPS)]
    place = T.bind(T.nearbyint(T.min(T.max(ends[0] - low / step, ends[0]), ends[1])))
    least, most = (T.bind(T.Broadcast(end - place, LANES)) for end in ends)
    with T.serial(form.batch) as row, T.serial(form.padded // LANES) as vector:
        units = vector_at(vector * LANES)
        steps = T.min(T.max(state[row, units] / T.Broadcast(step, LANES), least), most)
        whole = T.Cast(f"int16x{LANES}", T.nearbyint(steps))
        T.buffer_store(buffers["integers"], whole, [row, units])
