"""Normalisations."""

from __future__ import annotations

from typing import Any

from harness.compiler.api import relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, like
from harness.models.onnx.refusal import Unsupported


def _batch_normalization(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    if attributes.get("training_mode", 0):
        raise Unsupported(
            "training_mode=1 normalises by the batch itself; export the model for inference"
        )
    return by_tvm(builder, inputs, attributes, opset, "BatchNormalization")


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


NORMALISATION: dict[str, Converter] = {
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _norm,
}
