"""Normalisations."""

from __future__ import annotations

from typing import Any

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, like


def _batch_normalization(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """In training mode by the batch itself; the second and third outputs are the running mean and
    variance then."""
    if not attributes.get("training_mode", 0):
        attributes.get("momentum")
        return by_tvm(builder, inputs, attributes, opset, "BatchNormalization")
    x, scale, offset, *running = (inputs[at] for at in range(5))
    rank, channels = len(shape_of(x)), shape_of(x)[1]
    axes = [at for at in range(rank) if at != 1]
    mean = builder.emit(relax.op.mean(x, axes, keepdims=True))
    away = builder.emit(relax.op.subtract(x, mean))
    spread = builder.emit(relax.op.mean(relax.op.square(away), axes, keepdims=True))
    epsilon = like(attributes.get("epsilon", 1e-5), x)
    normal = relax.op.multiply(away, relax.op.rsqrt(relax.op.add(spread, epsilon)))
    shape = [channels if at == 1 else 1 for at in range(rank)]
    scale, offset = (builder.emit(relax.op.reshape(each, shape)) for each in (scale, offset))
    normal = builder.emit(relax.op.add(relax.op.multiply(normal, scale), offset))
    momentum = float(attributes.get("momentum", 0.9))
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return normal
    return relax.Tuple([normal, *(
        builder.emit(relax.op.add(
            relax.op.multiply(old, like(momentum, old)),
            relax.op.multiply(
                builder.emit(relax.op.reshape(new, [channels])), like(1 - momentum, old)
            ),
        ))
        for old, new in zip(running, (mean, spread), strict=True)
    )])  # fmt: skip


def _layer_normalization(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The second and third outputs are the mean and one over the standard deviation."""
    converted = by_tvm(builder, inputs, attributes, opset, "LayerNormalization")
    normal = converted.fields[0]
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return normal
    x = inputs[0]
    rank = len(shape_of(x))
    axes = list(range(int(attributes.get("axis", -1)) % rank, rank))
    epsilon = like(attributes.get("epsilon", 1e-5), x)
    mean = builder.emit(relax.op.mean(x, axes, keepdims=True))
    spread = builder.emit(relax.op.variance(x, axes, keepdims=True))
    return relax.Tuple([normal, mean, relax.op.rsqrt(relax.op.add(spread, epsilon))])


def _norm(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """LpNormalization: x / ‖x‖ along one axis, 0 where the norm is."""
    x, order = inputs[0], attributes.get("p", 2)
    axes = [int(attributes.get("axis", -1))]
    if order == 1:
        norm = relax.op.sum(relax.op.abs(x), axes, keepdims=True)
    else:
        norm = relax.op.sqrt(relax.op.sum(relax.op.multiply(x, x), axes, keepdims=True))
    norm = builder.emit(norm)
    zero = like(0.0, x)
    return relax.op.where(relax.op.equal(norm, zero), zero, relax.op.divide(x, norm))


def root_mean_square(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """RMSNormalization: x / √(mean(x²) + ε) · scale, computed in single precision at least."""
    x, scale = inputs[0], inputs[1]
    dtype, rank = str(x.ty.dtype), len(shape_of(x))
    axes = list(range(int(attributes.get("axis", -1)) % rank, rank))
    attributes.get("stash_type")
    narrow = dtype in {"float16", "bfloat16"}
    wide = builder.emit(relax.op.astype(x, "float32")) if narrow else x
    mean = builder.emit(relax.op.mean(relax.op.square(wide), axes, keepdims=True))
    root = relax.op.sqrt(relax.op.add(mean, like(attributes.get("epsilon", 1e-5), wide)))
    normal = builder.emit(relax.op.divide(wide, root))
    if narrow:
        normal = builder.emit(relax.op.astype(normal, dtype))
    return relax.op.multiply(normal, scale)


NORMALISATION: dict[str, Converter] = {
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _norm,
    "RMSNormalization": root_mean_square,
}
