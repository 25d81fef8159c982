"""GroupQueryAttention of ONNX Runtime's domain: several heads of queries share one of the keys.

The past is a cache, [batch, key heads, places, size], of which each sample has filled a number of
its own. New keys and values go behind what is filled, and the places behind them are 0.

Source: the operator's documentation in ONNX Runtime's `ContribOperators.md`, and its `GQAAttention`
for what the documentation leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, constant_number, relax, shape_of
from harness.models.onnx.operators.attention import by_heads, turned
from harness.models.onnx.operators.converter import Builder, Converter, like, text
from harness.models.onnx.operators.integers import cast, reshaped
from harness.models.onnx.refusal import Unsupported

_REFUSED = {
    12: "a quantized cache",
    13: "a quantized cache",
    14: "normalised queries and keys",
    15: "normalised queries and keys",
    16: "query_seqlens",
}
"""Inputs that are not supported, by their places."""


@dataclass(frozen=True)
class _Cache:
    """The places of a cache before and after a step of so many `steps`. `filled`, [batch, 1], is
    how many places each sample has filled before it; None where all have filled all of them."""

    before: int
    after: int
    steps: int
    filled: relax.Expr | None

    def extended(self, builder: Builder, past: relax.Expr | None, new: relax.Expr) -> relax.Expr:
        """Keys or values with the new ones in their places."""
        batch, heads, _, size = shape_of(new)
        parts = [new] if past is None else [past, new]
        spare = self.after - self.before - self.steps
        if self.filled is None and spare >= 0:
            if spare:
                parts.append(constant(np.zeros((batch, heads, spare, size), str(new.ty.dtype))))
            return parts[0] if len(parts) == 1 else builder.emit(relax.op.concat(parts, axis=2))
        parts.append(constant(np.zeros((batch, heads, 1, size), str(new.ty.dtype))))
        rows = builder.emit(relax.op.concat(parts, axis=2))
        at = reshaped(builder, self._sources(builder, batch), (batch, 1, self.after, 1))
        at = builder.emit(relax.op.broadcast_to(at, (batch, heads, self.after, size)))
        return builder.emit(relax.op.gather_elements(rows, at, axis=2))

    def _sources(self, builder: Builder, batch: int) -> relax.Expr:
        """Where each place comes from, [batch, after]: in the past, the new ones, and one zero."""
        places = constant(np.arange(self.after, dtype="int64")[None])
        filled = self.reached(builder, batch)
        behind = builder.emit(relax.op.subtract(places, filled))
        is_new = builder.emit(relax.op.less(behind, like(self.steps, behind)))
        moved = builder.emit(relax.op.add(behind, like(self.before, behind)))
        zero = like(self.before + self.steps, behind)
        later = builder.emit(relax.op.where(is_new, moved, zero))
        is_past = builder.emit(relax.op.less(places, filled))
        return builder.emit(relax.op.where(is_past, places, later))

    def reached(self, builder: Builder, batch: int) -> relax.Expr:
        """How many places are filled before the step, [batch, 1]."""
        if self.filled is not None:
            return self.filled
        return constant(np.full((batch, 1), self.before, np.int64))


def _cache(
    builder: Builder, past: relax.Expr | None, lengths: relax.Expr, total: int, steps: int
) -> _Cache:
    before = 0 if past is None else shape_of(past)[2]
    after = max(total, before)
    if total == steps:  # the first step, whatever the cache holds
        empty = constant(np.zeros((shape_of(lengths)[0], 1), np.int64))
        return _Cache(before, after, steps, empty if before else None)
    known = constant_array(lengths)
    if known is not None and (known + 1 - steps == before).all():
        return _Cache(before, after, steps, None)
    wide = cast(builder, reshaped(builder, lengths, (-1, 1)), "int64")
    filled = builder.emit(relax.op.add(wide, like(1 - steps, wide)))
    # Lengths that do not fit read nothing outside the cache.
    filled = builder.emit(relax.op.maximum(filled, like(0, filled)))
    filled = builder.emit(relax.op.minimum(filled, like(before, filled)))
    return _Cache(before, after, steps, filled)


def _grouped_attention(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """GroupQueryAttention: the output, and the cache with the new keys and values."""
    _require_supported(inputs, attributes)
    heads, groups = (int(attributes[name]) for name in ("num_heads", "kv_num_heads"))
    past_keys, past_values, lengths = inputs[3], inputs[4], inputs[5]
    total = constant_number(inputs[6])
    if total is None:
        raise Unsupported("a total_sequence_length that is computed")
    queries, keys, values = _projections(builder, inputs, heads, groups)
    batch, _, steps, size = shape_of(queries)
    cache = _cache(builder, past_keys, lengths, int(total), steps)
    if attributes.get("do_rotary", 0):
        positions = _positions(builder, inputs[9], cache, batch, int(total) == steps)
        neighbours = bool(attributes.get("rotary_interleaved", 0))
        share = 2 * shape_of(inputs[7])[1]
        queries, keys = (
            turned(builder, each, positions, (inputs[7], inputs[8]), share, neighbours)
            for each in (queries, keys)
        )
    keys = cache.extended(builder, past_keys, keys)
    values = cache.extended(builder, past_values, values)

    # The queries of heads that share keys stand below each other, in one product.
    together = reshaped(builder, queries, (batch, groups, heads // groups * steps, size))
    across = builder.emit(relax.op.permute_dims(keys, [0, 1, 3, 2]))
    scores = builder.emit(relax.op.matmul(together, across))
    scores = reshaped(builder, scores, (batch, heads, steps, cache.after))
    scale = float(attributes.get("scale", 0.0)) or size**-0.5
    scores = builder.emit(relax.op.multiply(scores, like(scale, scores)))
    if softcap := float(attributes.get("softcap", 0.0)):
        scores = builder.emit(relax.op.divide(scores, like(softcap, scores)))
        scores = builder.emit(relax.op.tanh(scores))
        scores = builder.emit(relax.op.multiply(scores, like(softcap, scores)))
    if inputs[10] is not None:
        scores = builder.emit(relax.op.add(scores, _widened(builder, inputs[10], cache.after)))
    window = int(attributes.get("local_window_size", -1))
    causal = bool(attributes.get("causal", 1))
    seen = _seen(builder, cache, lengths, batch, window if causal else None)
    lowest = like(float(np.finfo(str(scores.ty.dtype)).min), scores)
    scores = builder.emit(relax.op.where(seen, scores, lowest))
    shares = _softmax(builder, scores, inputs[11], bool(attributes.get("smooth_softmax", 0) == 1))
    if causal and window > 0:  # a step that fills a sample up may see none
        shares = builder.emit(relax.op.where(seen, shares, like(0.0, shares)))
    shares = reshaped(builder, shares, (batch, groups, heads // groups * steps, cache.after))
    found = builder.emit(relax.op.matmul(shares, values))
    found = reshaped(builder, found, (batch, heads, steps, shape_of(values)[3]))
    found = builder.emit(relax.op.permute_dims(found, [0, 2, 1, 3]))
    result = reshaped(builder, found, (batch, steps, heads * shape_of(values)[3]))
    count = attributes["tvm_custom"]["num_outputs"]
    return result if count == 1 else relax.Tuple([result, keys, values][:count])


def _require_supported(inputs: Any, attributes: Any) -> None:
    """Raises Unsupported."""
    for place, what in _REFUSED.items():
        if inputs[place] is not None:
            raise Unsupported(what)
    for name in ("qk_output", "sliding_window_cache"):
        if attributes.get(name, 0):
            raise Unsupported(f"{name}={attributes[name]}")
    for name in ("k_quant_type", "v_quant_type"):
        if (found := text(attributes, name, "NONE")) != "NONE":
            raise Unsupported(f"{name}={found}")
    for name in ("kv_cache_bit_width", "qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon"):
        attributes.get(name)  # of what is refused above


def _projections(
    builder: Builder, inputs: Any, heads: int, groups: int
) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    """Queries, keys and values by heads, which can come as one tensor."""
    if inputs[1] is not None:
        parts = [inputs[at] for at in range(3)]
    else:
        size = shape_of(inputs[0])[2] // (heads + 2 * groups)
        ends = [heads * size, (heads + groups) * size]
        split = builder.emit(relax.op.split(inputs[0], ends, axis=2))
        parts = [builder.emit(relax.TupleGetItem(split, at)) for at in range(3)]
    counts = (heads, groups, groups)
    queries, keys, values = (
        by_heads(builder, each, count) for each, count in zip(parts, counts, strict=True)
    )
    return queries, keys, values


def _positions(
    builder: Builder, given: relax.Expr | None, cache: _Cache, batch: int, first: bool
) -> relax.Expr:
    """The position of each step, [batch, steps]; in a first step the given one is of the first."""
    steps = constant(np.arange(cache.steps, dtype="int64")[None])
    if given is None:
        start = constant(np.zeros((batch, 1), np.int64)) if first else cache.reached(builder, batch)
        return builder.emit(relax.op.add(start, steps))
    given = cast(builder, given, "int64")
    if not first:
        return given
    flat = reshaped(builder, given, (-1,))
    start = builder.emit(relax.op.strided_slice(flat, [0], [0], [1]))
    start = builder.emit(relax.op.add(reshaped(builder, start, (1, 1)), steps))
    return builder.emit(relax.op.broadcast_to(start, (batch, cache.steps)))


def _widened(builder: Builder, bias: relax.Expr, places: int) -> relax.Expr:
    """A bias of scores, [batch or 1, heads or 1, steps, total], for all places of the cache."""
    *rest, total = shape_of(bias)
    if total == places:
        return bias
    spare = constant(np.zeros((*rest, places - total), str(bias.ty.dtype)))
    return builder.emit(relax.op.concat([bias, spare], axis=3))


def _seen(
    builder: Builder, cache: _Cache, lengths: relax.Expr, batch: int, window: int | None
) -> relax.Expr:
    """Which keys each step reads, [batch, 1, steps or 1, places]: those that the sample has; with a
    `window` those up to its own, and of these so many of the nearest if it is above 0."""
    at = constant(np.arange(cache.after, dtype="int64")[None, None, None])
    last = cast(builder, reshaped(builder, lengths, (batch, 1, 1, 1)), "int64")
    seen = builder.emit(relax.op.less_equal(at, last))
    if window is None:
        return seen
    ahead = constant(np.arange(cache.steps, dtype="int64")[None])
    own = builder.emit(relax.op.add(cache.reached(builder, batch), ahead))
    own = reshaped(builder, own, (batch, 1, cache.steps, 1))
    before = builder.emit(relax.op.less_equal(at, own))
    seen = builder.emit(relax.op.logical_and(seen, before))
    if window > 0:
        nearest = builder.emit(relax.op.subtract(own, like(window, own)))
        near = builder.emit(relax.op.greater(at, nearest))
        seen = builder.emit(relax.op.logical_and(seen, near))
    return seen


def _softmax(
    builder: Builder, scores: relax.Expr, sink: relax.Expr | None, smooth: bool
) -> relax.Expr:
    """The share of each key; a sink of each head, or 0 where it is `smooth`, takes a share too."""
    if sink is None and not smooth:
        return builder.emit(relax.op.nn.softmax(scores, axis=-1))
    batch, heads, steps, places = shape_of(scores)
    dtype = str(scores.ty.dtype)
    if sink is None:
        sink = constant(np.zeros(heads, dtype))
    sink = reshaped(builder, cast(builder, sink, dtype), (1, heads, 1, 1))
    sink = builder.emit(relax.op.broadcast_to(sink, (batch, heads, steps, 1)))
    scores = builder.emit(relax.op.concat([scores, sink], axis=3))
    shares = builder.emit(relax.op.nn.softmax(scores, axis=-1))
    return builder.emit(relax.op.strided_slice(shares, [3], [0], [places]))


GROUPED_ATTENTION: dict[str, Converter] = {"GroupQueryAttention": _grouped_attention}
