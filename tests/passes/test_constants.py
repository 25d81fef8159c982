"""What is computed of constants is what TVM's own kernels give, dtypes too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.compiler.api import Constant, constant, constant_array, relax, structural_equal, tvm
from harness.passes.constants import EvaluateConstants, ZerosAsArrays

op = relax.op
_REAL = np.array([[-2.5, -0.0, 1.25, 3.0], [7.0, 0.5, -1.0, 4.0]], np.float32)
_WHOLE = np.array([[-7, 3, 2, 5], [9, -4, 1, 6]], np.int64)
_TRUE = np.array([[True, False, True, False], [False, False, True, True]])
x, y, n, m, t, u = map(
    constant, (_REAL, _REAL[::-1].copy(), _WHOLE, _WHOLE[::-1].copy(), _TRUE, ~_TRUE[::-1])
)

CALLS: dict[str, relax.Expr] = {
    "abs": op.abs(x),
    "add": op.add(n, m),
    "astype, of integers": op.astype(n, "int8"),
    "astype, of floats": op.astype(x, "int32"),
    "astype, to floats": op.astype(t, "float32"),
    "bitwise_and": op.bitwise_and(n, m),
    "bitwise_not": op.bitwise_not(n),
    "bitwise_or": op.bitwise_or(n, m),
    "bitwise_xor": op.bitwise_xor(n, m),
    "broadcast_to": op.broadcast_to(x, (3, 2, 4)),
    "ceil": op.ceil(x),
    "concat": op.concat([x, y], 1),
    "concat, the last axis": op.concat([n, m], -1),
    "divide": op.divide(x, constant(np.float32(3))),
    "equal": op.equal(x, y),
    "expand_dims": op.expand_dims(x, [0, 2]),
    "flatten": op.flatten(x),
    "floor": op.floor(x),
    "floor_divide": op.floor_divide(n, m),
    "full": op.full((2, 3), constant(np.float32(1.5)), "float32"),
    "greater": op.greater(x, y),
    "greater_equal": op.greater_equal(n, m),
    "isnan": op.isnan(constant(np.array([np.nan, 1], np.float32))),
    "less": op.less(x, y),
    "less_equal": op.less_equal(x, y),
    "logical_and": op.logical_and(t, u),
    "logical_not": op.logical_not(t),
    "logical_or": op.logical_or(t, u),
    "logical_xor": op.logical_xor(t, u),
    "maximum": op.maximum(x, y),
    "minimum": op.minimum(n, m),
    "multiply": op.multiply(x, y),
    "negative": op.negative(x),
    "not_equal": op.not_equal(n, m),
    "ones": op.ones((2, 3), "int64"),
    "permute_dims": op.permute_dims(x),
    "permute_dims, in an order": op.permute_dims(op.reshape(x, (1, 2, 4)), [2, 0, 1]),
    "repeat": op.repeat(n, 2, 1),
    "repeat, of all": op.repeat(n, 2),
    "reshape": op.reshape(x, (4, 2)),
    "rsqrt": op.rsqrt(op.abs(x)),
    "sqrt": op.sqrt(op.abs(x)),
    "squeeze": op.squeeze(op.reshape(x, (1, 8))),
    "stack": op.stack([x, y], 1),
    "stack, the first axis": op.stack([n, m]),
    "strided_slice": op.strided_slice(x, [1], [-3], [10], [2]),
    "strided_slice, two axes": op.strided_slice(n, [0, 1], [1, 0], [2, -1]),
    "subtract": op.subtract(n, m),
    "take": op.take(x, constant(np.array([1, 0, 1])), 0),
    "where": op.where(t, n, m),
    "zeros": op.zeros((2, 3), "float64"),
}


def _module(call: relax.Expr, *parameters: relax.Var) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    with builder.function("main", list(parameters)):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(call))
        builder.emit_func_output(result)
    return builder.get()


def _folded(module: tvm.IRModule) -> np.ndarray | None:
    """The value of the network, if it is a constant."""
    bound = {
        binding.var: binding.value
        for block in module["main"].body.blocks
        for binding in block.bindings
    }
    value: relax.Expr = module["main"].body.body
    while value in bound:
        value = bound[value]
    return constant_array(value) if isinstance(value, Constant) else None


@pytest.mark.parametrize("name", CALLS)
def test_constants_are_those_of_tvm(name: str) -> None:
    module = _module(CALLS[name])
    found = _folded(EvaluateConstants.apply(module))
    right = _folded(relax.transform.FoldConstant()(module))
    assert found is not None
    if right is None:  # TVM leaves what has no arguments
        right = np.asarray({"ones": np.ones, "zeros": np.zeros}[name]((2, 3)), found.dtype)
    assert found.dtype == right.dtype
    np.testing.assert_allclose(found, right, rtol=3e-7)


@pytest.mark.parametrize(
    "call",
    [
        op.astype(constant(np.array([np.nan, 3e10], np.float32)), "int32"),
        op.floor_divide(n, constant(np.zeros((2, 4), np.int64))),
        op.take(x, constant(np.array([5])), 0),
        op.strided_slice(x, [1], [-1], [-4], [-1]),
    ],
)
def test_undefined_values_are_left(call: relax.Expr) -> None:
    assert _folded(EvaluateConstants.apply(_module(call))) is None


@pytest.mark.parametrize("operator", [op.multiply, op.divide])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_zeros_are_arrays(operator: Callable[..., relax.Expr], shape: tuple[int, ...]) -> None:
    parameter = relax.Var("x", relax.TensorType(shape, "float32"))
    for zero in (0.0, -0.0):
        call = operator(parameter, constant(np.float32(zero)))
        module = ZerosAsArrays.apply(_module(call, parameter))
        assert tuple(map(int, module["main"].ret_ty.shape)) == shape
        computed = module["main"].body.blocks[0].bindings[0].value
        assert constant_array(computed.args[1]).shape == (1,)
    one = operator(parameter, constant(np.float32(1)))
    assert structural_equal(ZerosAsArrays.apply(_module(one, parameter)), _module(one, parameter))
