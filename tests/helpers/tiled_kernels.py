"""Kernels of the tiled design space, and searches for their schedules."""

from __future__ import annotations

from harness.compiler.api import meta_schedule, te, topi, tvm
from harness.kernels import packed
from harness.kernels.vectors import vector_lanes
from harness.tuning.candidates.process import KernelTask
from harness.tuning.database import Choice
from harness.tuning.search.proposals import KernelSearch

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = vector_lanes(TARGET)


def convolution(size: int, inputs: int, vectors: int, padding: int) -> tvm.IRModule:
    """A packed convolution with bias and activation."""
    data = te.placeholder((1, size, size, inputs), name="data")
    shape = (vectors, 3, 3, inputs, LANES)
    weights = te.placeholder(shape, name="weights")
    bias = te.placeholder((vectors * LANES,), name="bias")
    summed = packed.convolution(data, weights, [1, 1], [padding] * 4, [1, 1])
    result = topi.nn.relu(topi.add(summed, bias))
    return tvm.IRModule({"main": te.create_prim_func([data, weights, bias, result])})


def dense(rows: int, inputs: int, vectors: int) -> tvm.IRModule:
    data = te.placeholder((rows, inputs), name="data")
    weights = te.placeholder((vectors, inputs, LANES), name="weights")
    result = packed.matmul(data, weights)
    return tvm.IRModule({"main": te.create_prim_func([data, weights, result])})


def search(kernel: tvm.IRModule, chosen: list[Choice], *, most_likely: int = 0) -> KernelSearch:
    return KernelSearch(
        KernelTask("kernel", kernel, 1),
        TARGET,
        2,
        meta_schedule.database.MemoryDatabase(),
        meta_schedule.cost_model.RandomModel(),
        chosen,
        seed=1,
        fresh=True,
        most_likely=most_likely,
    )
