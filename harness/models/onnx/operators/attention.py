"""Attention as ONNX Runtime's own operators have it, in its domain `com.microsoft`.

Queries are [batch, heads, steps, size], keys and values [batch, heads, total, size]: what the past
holds stands before the inputs' own. Source: the operators' documentation in ONNX Runtime's
`ContribOperators.md`, and its `AttentionCPUBase` for masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import constant, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, like
from harness.models.onnx.operators.integers import cast, product, reshaped
from harness.models.onnx.refusal import Unsupported

_MASKED = -10000.0
"""What is added to scores that a mask leaves out, where the node does not say."""


@dataclass(frozen=True)
class _Heads:
    """Queries, keys and values by heads, and what the scores are multiplied with."""

    queries: relax.Expr
    keys: relax.Expr
    values: relax.Expr
    scale: float

    def attended(self, builder: Builder, added: Sequence[relax.Expr], causal: bool) -> relax.Expr:
        """softmax(q · kᵀ · scale + added) · v, shape [batch, steps, heads · size]. With `causal`,
        a step reads those before it, and itself."""
        batch, heads, steps, _ = shape_of(self.queries)
        total, size = shape_of(self.keys)[2], shape_of(self.values)[3]
        turned = builder.emit(relax.op.permute_dims(self.keys, [0, 1, 3, 2]))
        scores = builder.emit(relax.op.matmul(self.queries, turned))
        scores = builder.emit(relax.op.multiply(scores, like(self.scale, scores)))
        for each in added:
            scores = builder.emit(relax.op.add(scores, each))
        if causal:
            seen = np.tri(steps, total, total - steps, dtype=bool)[None, None]
            lowest = like(float(np.finfo(str(scores.ty.dtype)).min), scores)
            scores = builder.emit(relax.op.where(constant(seen), scores, lowest))
        shares = builder.emit(relax.op.nn.softmax(scores, axis=-1))
        found = builder.emit(relax.op.matmul(shares, self.values))
        found = builder.emit(relax.op.permute_dims(found, [0, 2, 1, 3]))
        return reshaped(builder, found, (batch, steps, heads * size))


def by_heads(builder: Builder, value: relax.Expr, heads: int) -> relax.Expr:
    """[batch, steps, heads · size] by heads."""
    batch, steps, width = shape_of(value)
    split = reshaped(builder, value, (batch, steps, heads, width // heads))
    return builder.emit(relax.op.permute_dims(split, [0, 2, 1, 3]))


def _mask(builder: Builder, mask: relax.Expr, heads: _Heads, out: float) -> relax.Expr:
    """What a mask of integers adds to the scores: nothing to those it keeps. It has a truth value
    of each key, of each query and key, or the number of keys of each sample."""
    batch, _, steps, _ = shape_of(heads.queries)
    total, shape = shape_of(heads.keys)[2], shape_of(mask)
    if shape == (batch,):
        at = constant(np.arange(total, dtype="int32")[None])
        kept = relax.op.less(at, cast(builder, reshaped(builder, mask, (batch, 1)), "int32"))
    elif shape in {(batch, total), (batch, steps, total)}:
        kept = relax.op.greater(mask, like(0, mask))
    else:
        raise Unsupported(f"a mask {list(shape)} of {batch} samples with {total} keys each")
    zero = like(0.0, heads.queries)
    added = builder.emit(relax.op.where(builder.emit(kept), zero, like(out, zero)))
    return reshaped(builder, added, (batch, 1, shape[1] if len(shape) == 3 else 1, total))


def _added(
    builder: Builder,
    mask: relax.Expr | None,
    bias: relax.Expr | None,
    heads: _Heads,
    attributes: Any,
) -> list[relax.Expr]:
    """What is added to the scores."""
    out = float(attributes.get("mask_filter_value", _MASKED))
    found = [] if mask is None else [_mask(builder, mask, heads, out)]
    return found if bias is None else [*found, bias]


def _with_past(builder: Builder, past: relax.Expr | None, value: relax.Expr) -> relax.Expr:
    return value if past is None else builder.emit(relax.op.concat([past, value], axis=2))


def _scale(attributes: Any, size: int) -> float:
    """The node's, or 1/√size where it has none, or 0."""
    return float(attributes.get("scale", 0.0)) or size**-0.5


def _of_projected(
    builder: Builder,
    projected: relax.Expr,
    attributes: Any,
    mask: relax.Expr | None,
    past: relax.Expr | None,
    bias: relax.Expr | None = None,
) -> relax.Expr:
    """The outputs of Attention from the projections [batch, steps, queries + keys + values]; `bias`
    is of the scores."""
    heads = int(attributes["num_heads"])
    if attributes.get("do_rotary", 0):
        raise Unsupported("do_rotary=1")
    width = shape_of(projected)[2]
    sizes = [int(each) for each in attributes.get("qkv_hidden_sizes", [width // 3] * 3)]
    ends = [sizes[0], sizes[0] + sizes[1]]
    parts = builder.emit(relax.op.split(projected, ends, axis=2))
    queries, keys, values = (
        by_heads(builder, builder.emit(relax.TupleGetItem(parts, at)), heads) for at in range(3)
    )
    if past is not None:
        held = builder.emit(relax.op.split(past, 2, axis=0))
        shape = shape_of(past)[1:]
        keys, values = (
            _with_past(
                builder, reshaped(builder, builder.emit(relax.TupleGetItem(held, at)), shape), each
            )
            for at, each in enumerate((keys, values))
        )
    found = _Heads(queries, keys, values, _scale(attributes, sizes[0] // heads))
    added = _added(builder, mask, bias, found, attributes)
    result = found.attended(builder, added, bool(attributes.get("unidirectional", 0)))
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return result
    both = [builder.emit(relax.op.expand_dims(each, 0)) for each in (keys, values)]
    return relax.Tuple([result, builder.emit(relax.op.concat(both, axis=0))])


def _attention(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Attention: the projections of queries, keys and values are one product."""
    projected = builder.emit(relax.op.matmul(inputs[0], inputs[1]))
    if inputs[2] is not None:
        projected = builder.emit(relax.op.add(projected, inputs[2]))
    return _of_projected(builder, projected, attributes, inputs[3], inputs[4], inputs[5])


def _quantized_attention(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """QAttention: the projections are of integers, the rest is in floats."""
    data, weights, bias, scale, weight_scale = (inputs[at] for at in range(5))
    batch, steps, width = shape_of(data)
    rows = reshaped(builder, data, (batch * steps, width))
    total = product(builder, rows, weights, inputs[6], inputs[7])
    scales = [reshaped(builder, each, (-1,)) for each in (scale, weight_scale)]
    factor = builder.emit(relax.op.multiply(*scales))
    found = builder.emit(relax.op.multiply(cast(builder, total, "float32"), factor))
    found = builder.emit(relax.op.add(found, bias))
    projected = reshaped(builder, found, (batch, steps, shape_of(weights)[1]))
    return _of_projected(builder, projected, attributes, inputs[5], inputs[8])


def _multi_head_attention(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """MultiHeadAttention: queries, keys and values are projected before; a bias is of all three."""
    heads = int(attributes["num_heads"])
    queries, keys, values, bias = (inputs[at] for at in range(4))
    if keys is None or values is None:
        raise Unsupported("queries, keys and values in one tensor")
    if inputs[8] is not None or inputs[9] is not None:
        raise Unsupported("a cache of keys that is written in place")
    parts = [queries, keys, values]
    if bias is not None:
        ends = np.cumsum([shape_of(queries)[2], shape_of(queries)[2]])
        biases = builder.emit(relax.op.split(bias, [int(end) for end in ends], axis=0))
        parts = [
            builder.emit(relax.op.add(each, builder.emit(relax.TupleGetItem(biases, at))))
            if len(shape_of(each)) == 3 else each
            for at, each in enumerate(parts)
        ]  # fmt: skip
    queries, keys, values = (
        by_heads(builder, each, heads) if len(shape_of(each)) == 3 else each for each in parts
    )
    keys, values = _with_past(builder, inputs[6], keys), _with_past(builder, inputs[7], values)
    found = _Heads(queries, keys, values, _scale(attributes, shape_of(queries)[3]))
    added = _added(builder, inputs[4], inputs[5], found, attributes)
    result = found.attended(builder, added, bool(attributes.get("unidirectional", 0)))
    count = attributes["tvm_custom"]["num_outputs"]
    return result if count == 1 else relax.Tuple([result, keys, values])


def _rotary_embedding(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """RotaryEmbedding of [batch, steps, heads · size] or [batch, heads, steps, size]."""
    data, positions, cosines, sines = (inputs[at] for at in range(4))
    if attributes.get("is_packed_batching", 0):
        raise Unsupported("is_packed_batching=1")
    attributes.get("scale")  # no kernel of ONNX Runtime's reads it
    shape = shape_of(data)
    pairs = shape_of(cosines)[1]
    share = int(attributes.get("rotary_embedding_dim", 0)) or 2 * pairs
    heads = int(attributes.get("num_heads", 0))
    if len(shape) == 3:
        size = shape[2] // heads if heads else 2 * pairs
        data = by_heads(builder, data, shape[2] // size)
    neighbours = bool(attributes.get("interleaved", 0))
    found = turned(builder, data, positions, (cosines, sines), share, neighbours)
    if len(shape) == 3:
        found = builder.emit(relax.op.permute_dims(found, [0, 2, 1, 3]))
    return reshaped(builder, found, shape)


def turned(
    builder: Builder,
    data: relax.Expr,
    positions: relax.Expr,
    caches: tuple[relax.Expr, relax.Expr],
    share: int,
    neighbours: bool,
) -> relax.Expr:
    """Data [batch, heads, steps, size] whose first `share` elements are turned in pairs, by the
    angles that their positions, [batch, steps] or that of the first step, have in the caches of
    cosines and sines, [positions, pairs]. Pairs are `neighbours`, or halves of the elements."""
    batch, count, steps, size = shape_of(data)
    pairs = share // 2
    if shape_of(positions) == (1,):
        ahead = constant(np.arange(steps, dtype=str(positions.ty.dtype))[None])
        positions = builder.emit(relax.op.add(positions, ahead))

    def angles(cache: relax.Expr) -> relax.Expr:
        flat = reshaped(builder, positions, (-1,))
        taken = builder.emit(relax.op.take(cache, flat, axis=0))
        return reshaped(builder, taken, (-1, 1, steps, pairs))

    cosines, sines = map(angles, caches)

    def part(begin: int, end: int, stride: int = 1) -> relax.Expr:
        return builder.emit(relax.op.strided_slice(data, [3], [begin], [end], [stride]))

    one, other = (
        (part(0, share, 2), part(1, share, 2))
        if neighbours
        else (part(0, pairs), part(pairs, share))
    )
    multiply = relax.op.multiply
    first = builder.emit(
        relax.op.subtract(
            builder.emit(multiply(one, cosines)), builder.emit(multiply(other, sines))
        )
    )
    second = builder.emit(
        relax.op.add(builder.emit(multiply(other, cosines)), builder.emit(multiply(one, sines)))
    )
    if neighbours:
        both = builder.emit(relax.op.stack([first, second], axis=4))
        found = reshaped(builder, both, (batch, count, steps, share))
    else:
        found = builder.emit(relax.op.concat([first, second], axis=3))
    if share < size:
        found = builder.emit(relax.op.concat([found, part(share, size)], axis=3))
    return found


ATTENTION: dict[str, Converter] = {
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "QAttention": _quantized_attention,
    "RotaryEmbedding": _rotary_embedding,
}
