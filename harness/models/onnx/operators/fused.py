"""Operators that ONNX Runtime's optimizer makes of several, in its domain `com.microsoft`.

Source: the operators' documentation in ONNX Runtime's `ContribOperators.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm, like, text
from harness.models.onnx.operators.normalisation import root_mean_square
from harness.models.onnx.refusal import Unsupported

_ACTIVATIONS: dict[str, Callable[[relax.Expr, Sequence[float]], relax.Expr]] = {
    "": lambda x, given: x,
    "Clip": lambda x, given: relax.op.minimum(
        relax.op.maximum(x, like(given[0], x)), like(given[1], x)
    ),
    "HardSigmoid": lambda x, given: relax.op.minimum(
        relax.op.maximum(
            relax.op.add(relax.op.multiply(x, like(given[0], x)), like(given[1], x)), like(0, x)
        ),
        like(1, x),
    ),
    "LeakyRelu": lambda x, given: relax.op.nn.leakyrelu(x, given[0]),
    "Relu": lambda x, given: relax.op.nn.relu(x),
    "Sigmoid": lambda x, given: relax.op.sigmoid(x),
    "Tanh": lambda x, given: relax.op.tanh(x),
}
"""What may follow a product, of it and the node's parameters."""


def _activated(builder: Builder, x: relax.Expr, name: str, given: Sequence[float]) -> relax.Expr:
    if name not in _ACTIVATIONS:
        raise Unsupported(f"activation={name}")
    return _ACTIVATIONS[name](builder.emit(x), given)


def _convolution(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """FusedConv: activation(convolution + other); there need not be another."""
    name = text(attributes, "activation", "")
    given = [float(each) for each in attributes.get("activation_params", ())]
    found = by_tvm(builder, [inputs[at] for at in range(3)], attributes, opset, "Conv")
    if inputs[3] is not None:
        found = relax.op.add(builder.emit(found), inputs[3])
    return _activated(builder, found, name, given)


def _gemm(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """FusedGemm: activation(Gemm)."""
    name = text(attributes, "activation", "")
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given = [float(attributes.get(each, 0.0)) for each in names]
    found = by_tvm(builder, [inputs[at] for at in range(3)], attributes, opset, "Gemm")
    return _activated(builder, found, name, given)


def _matmul(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """FusedMatMul: alpha · A · B. Of each factor, the first dimension may change places with those
    of the batch behind it, and then the last two with each other."""
    factors = []
    for at, side in enumerate("AB"):
        value = inputs[at]
        order = list(range(len(shape_of(value))))
        if attributes.get(f"transBatch{side}", 0):
            order = [*order[1:-1], order[0], order[-1]]
        if attributes.get(f"trans{side}", 0) and len(order) > 1:
            order[-2:] = order[:-3:-1]
        if order != sorted(order):
            value = builder.emit(relax.op.permute_dims(value, order))
        factors.append(value)
    found = builder.emit(relax.op.matmul(*factors))
    return relax.op.multiply(found, like(float(attributes.get("alpha", 1.0)), found))


def _matmul_of_few_bits(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """MatMulNBits: x · Wᵀ, W = (q - zero point) · scale by blocks of a row, q of 2, 4 or 8 bits in
    bytes, the lowest bits first. The product is of floats."""
    x, packed, scales, zeros = inputs[0], *(_known(inputs, at) for at in range(1, 4))
    rows, columns = int(attributes["N"]), int(attributes["K"])
    bits, block = int(attributes.get("bits", 4)), int(attributes["block_size"])
    attributes.get("accuracy_level")  # how precise ONNX Runtime is, at least
    if _known(inputs, 4) is not None:
        raise Unsupported("g_idx: blocks of columns that are no neighbours")
    assert packed is not None and scales is not None
    blocks = -(-columns // block)
    steps = _unpacked(packed, bits).reshape(rows, blocks, block)
    if zeros is None:
        origin = np.full((rows, blocks), 2 ** (bits - 1), np.float32)
    elif zeros.dtype == np.uint8:
        origin = _unpacked(zeros.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    else:
        origin = zeros.reshape(rows, blocks).astype(np.float32)
    weights = (steps - origin[..., None]) * scales.reshape(rows, blocks, 1).astype(np.float32)
    matrix = weights.reshape(rows, -1)[:, :columns].T
    found = relax.op.matmul(x, constant(np.ascontiguousarray(matrix, str(x.ty.dtype))))
    return found if inputs[5] is None else relax.op.add(builder.emit(found), inputs[5])


def _known(inputs: Any, at: int) -> np.ndarray | None:
    """An input's constant; None if it is left out."""
    if inputs[at] is None:
        return None
    found = constant_array(inputs[at])
    if found is None:
        raise Unsupported("its weights depend on the inputs' values")
    return found


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Bytes as the integers in them, in the last axis, the lowest bits first."""
    if bits not in {2, 4, 8}:
        raise Unsupported(f"bits={bits}, expected 2, 4 or 8")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    found = np.bitwise_and(packed[..., None] >> shifts, 2**bits - 1)
    return np.asarray(found.reshape(*packed.shape[:-1], -1))


def _quick_gelu(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """x · sigmoid(alpha · x)."""
    x = inputs[0]
    alpha = like(float(attributes.get("alpha", 1.702)), x)
    return relax.op.multiply(x, relax.op.sigmoid(builder.emit(relax.op.multiply(x, alpha))))


def _simplified_normalization(
    builder: Builder, inputs: Any, attributes: Any, opset: int
) -> relax.Expr:
    """SimplifiedLayerNormalization, which is ONNX's RMSNormalization."""
    if attributes["tvm_custom"]["num_outputs"] > 1:
        raise Unsupported("its second output, of training")
    return root_mean_square(builder, inputs, attributes, opset)


def _skip(simplified: bool) -> Converter:
    """SkipLayerNormalization, or SkipSimplifiedLayerNormalization, which has no offset: the sum of
    two inputs, and perhaps a bias, normalised. Further outputs are the mean, one over the standard
    deviation, and the sum."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        bias = inputs[3 if simplified else 4]
        total = builder.emit(relax.op.add(inputs[0], inputs[1]))
        if bias is not None:
            total = builder.emit(relax.op.add(total, bias))
        epsilon = float(attributes.get("epsilon", 1e-12))
        if simplified:
            given = {"epsilon": epsilon}
            normal = root_mean_square(builder, [total, inputs[2]], given, opset)
        else:
            offset = inputs[3]
            if offset is None:
                offset = relax.op.zeros(shape_of(inputs[2]), str(total.ty.dtype))
            normal = relax.op.nn.layer_norm(total, inputs[2], offset, axes=-1, epsilon=epsilon)
        count = attributes["tvm_custom"]["num_outputs"]
        if count == 1:
            return normal
        mean = relax.op.mean(total, -1, keepdims=True)
        spread = (
            relax.op.mean(relax.op.square(total), -1, keepdims=True)
            if simplified
            else relax.op.variance(total, -1, keepdims=True)
        )
        inverse = relax.op.rsqrt(relax.op.add(spread, like(epsilon, total)))
        return relax.Tuple([builder.emit(normal), mean, inverse, total][:count])

    return convert


FUSED: dict[str, Converter] = {
    "FusedConv": _convolution,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "MatMulNBits": _matmul_of_few_bits,
    "QuickGelu": _quick_gelu,
    "SimplifiedLayerNormalization": _simplified_normalization,
    "SkipLayerNormalization": _skip(simplified=False),
    "SkipSimplifiedLayerNormalization": _skip(simplified=True),
}
