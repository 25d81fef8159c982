"""Operators of TFLite that multiply with matrices."""

from __future__ import annotations

from harness.compiler.api import relax
from harness.models.tflite.operation import Converter, Operation, Unsupported, activated


def _fully_connected(operation: Operation) -> relax.Expr:
    """All dimensions of the data but the last are rows; weights [outputs, inputs]."""
    options = operation.options("FullyConnectedOptions")
    if options.WeightsFormat():
        raise Unsupported("weights in a shuffled format")
    outputs, inputs = operation.shape(1)
    shape, data = operation.shape(0), operation.value(0)
    if len(shape) != 2 or shape[1] != inputs:
        data = operation.emit(relax.op.reshape(data, (-1, inputs)))
    if operation.known(1):
        weights = relax.const(operation.array(1).T.copy())
    else:
        weights = relax.op.permute_dims(operation.value(1))
    found = relax.op.matmul(data, weights)
    if operation.given(2):
        found = relax.op.add(found, operation.value(2))
    found = activated(found, options.FusedActivationFunction())
    if options.KeepNumDims() and len(shape) != 2:
        found = relax.op.reshape(found, (*shape[:-1], outputs))
    return found


def _batch_matmul(operation: Operation) -> relax.Expr:
    options = operation.options("BatchMatMulOptions")
    left, right = (
        _adjoint(operation, at) if adjoint else operation.value(at)
        for at, adjoint in enumerate((options.AdjX(), options.AdjY()))
    )
    return relax.op.matmul(left, right)


def _adjoint(operation: Operation, at: int) -> relax.Expr:
    *batch, rows, columns = range(len(operation.shape(at)))
    return relax.op.permute_dims(operation.value(at), [*batch, columns, rows])


WEIGHTED: dict[str, Converter] = {
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _fully_connected,
}
