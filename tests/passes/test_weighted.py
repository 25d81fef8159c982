"""Operators with constant weights are recognised, and their edges are in one order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.compiler.api import relax
from harness.passes.weighted import weighted

op = relax.op
Build = Callable[[relax.Expr, relax.Expr], relax.Expr]


def constant(*shape: int, dtype: str = "float32") -> relax.Expr:
    return relax.const(np.random.default_rng(0).standard_normal(shape).astype(dtype), dtype)


def data(*shape: int) -> relax.Var:
    return relax.Var("x", relax.TensorType(shape, "float32"))


def emitted(call: relax.Expr) -> relax.Expr:
    builder = relax.BlockBuilder()
    with builder.function("main", [call.args[0]]):
        variable = builder.emit(call)
        builder.emit_func_output(variable)
    return builder.get()["main"].body.blocks[0].bindings[0].value


@pytest.mark.parametrize(
    ("call", "matrix", "channels", "prunable", "last"),
    [
        (op.matmul(data(4, 6), constant(6, 5)), (6, 5), 1, True, True),
        (op.nn.conv1d(data(1, 6, 9), constant(5, 6, 3)), (18, 5), 1, True, False),
        (op.nn.conv2d(data(1, 6, 9, 9), constant(5, 6, 3, 3)), (54, 5), 1, True, False),
        (
            op.nn.conv2d(
                data(1, 9, 9, 6), constant(3, 3, 6, 5), data_layout="NHWC", kernel_layout="HWIO"
            ),
            (54, 5), 3, True, True,
        ),
        (op.nn.conv2d(data(1, 6, 9, 9), constant(6, 1, 3, 3), groups=6), (9, 6), 1, False, False),
        (op.nn.conv2d_transpose(data(1, 6, 9, 9), constant(6, 5, 2, 2)), (24, 5), 1, False, False),
        (op.nn.conv3d(data(1, 6, 4, 4, 4), constant(5, 6, 3, 3, 3)), (162, 5), 1, False, False),
    ],
)  # fmt: skip
def test_weights_are_a_matrix_of_taps_and_inputs_by_outputs(
    call: relax.Expr, matrix: tuple[int, int], channels: int, prunable: bool, last: bool
) -> None:
    found = weighted(emitted(call))
    assert found is not None
    assert found.matrix.shape == matrix and found.outputs == matrix[1]
    assert (found.channel_axis, found.prunable, found.channels_last) == (channels, prunable, last)


def test_an_edge_is_found_under_its_tap_input_and_output() -> None:
    weights = constant(5, 6, 3, 3)
    found = weighted(emitted(op.nn.conv2d(data(1, 6, 9, 9), weights)))
    assert found is not None
    row, column, source, output = 1, 2, 4, 3
    assert (
        found.matrix[(row * 3 + column) * 6 + source, output]
        == (weights.value.numpy()[output, source, row, column])
    )


@pytest.mark.parametrize(
    "call",
    [
        op.matmul(data(4, 6), data(6, 5)),
        op.matmul(data(2, 4, 6), constant(2, 6, 5)),
        op.nn.conv2d(data(1, 6, 9, 9), data(5, 6, 3, 3)),
        op.exp(data(3)),
    ],
)
def test_calls_without_a_matrix_of_constant_weights_are_none(call: relax.Expr) -> None:
    assert weighted(call) is None


def test_float64_weights_are_read_and_not_pruned() -> None:
    x = relax.Var("x", relax.TensorType((4, 6), "float64"))
    found = weighted(op.matmul(x, constant(6, 5, dtype="float64")))
    assert found is not None and not found.prunable
