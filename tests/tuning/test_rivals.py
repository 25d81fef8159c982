"""A layer is dense where its sparse kernel is the slower one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import ArgInfo, Schedule, meta_schedule, record_json, tvm
from harness.edges.compress import compress
from harness.hardware import HOST, load_target
from harness.kernels.vectors import vector_lanes
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.specs.edges import Edges
from harness.tuning.candidates.real_inputs import record_kernel_inputs
from harness.tuning.database import Choice, kernel_identity
from harness.tuning.rivals import slower_when_sparse
from harness.tuning.tasks import tasks_of

HERE = load_target(HOST)
TARGET = tvm.target.Target(HERE.tvm.as_tvm())
INPUTS = 512


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> tvm.IRModule:
    """A dense layer that has lost nine of ten blocks."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    constants = {"w": weights(INPUTS, 256)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 64, INPUTS])], ["y"], constants)
    network = canonicalise(imported(model, tmp_path_factory.mktemp("model")).module)
    edges = Edges(score="magnitude", sparsity=(0.9,))
    return compress(network, edges, vector_lanes(TARGET), 0)[0]


def unscheduled(module: tvm.IRModule) -> list[Any]:
    """A record of a schedule that leaves a kernel's scalar loops nearly as they are."""
    workload = meta_schedule.database.MemoryDatabase().commit_workload(module)
    schedule = Schedule(module)
    (block, *_) = schedule.get_child_blocks(schedule.get_sblock("root"))
    schedule.split(schedule.get_loops(block)[0], [None, 1])  # of nothing there is no record
    record = meta_schedule.database.TuningRecord(
        schedule.trace, workload, [1.0], TARGET, ArgInfo.from_prim_func(module["main"])
    )
    return record_json(record)


def slower(pruned: tvm.IRModule, folder: Path, spoilt: str) -> frozenset[str]:
    """What is slower with default schedules, but scalar loops for the kernel named `spoilt`."""
    lowered = fuse(adapt(pruned, HERE.passes, TARGET), "full")
    without = HERE.passes.model_copy(update={"sparse_kernels": False})
    dense = fuse(adapt(pruned, without, TARGET), "full")
    feed = np.ones((1, 64, INPUTS), np.float32)
    inputs = record_kernel_inputs(lowered, TARGET, 2, [feed], folder)
    tasks = tasks_of(lowered, TARGET, inputs)
    chosen: dict[str, Choice] = {}
    for name, module in (("sparse", lowered), ("dense", dense)):
        for task in tasks_of(module, TARGET):
            record = unscheduled(task.module) if name == spoilt else None
            chosen[kernel_identity(task.module)] = {"record": record, "seconds": [1.0]}
    return slower_when_sparse(pruned, lowered, tasks, "full", HERE, chosen, 0.0)


def sparse_kernels(pruned: tvm.IRModule, dense: frozenset[str]) -> int:
    fused = fuse(adapt(pruned, HERE.passes, TARGET, dense), "full")
    return sum("sparse" in kernel.name for kernel in kernels(fused))


@pytest.mark.slow
def test_a_layer_is_dense_where_its_sparse_kernel_is_slower(
    pruned: tvm.IRModule, tmp_path: Path
) -> None:
    found = slower(pruned, tmp_path, spoilt="sparse")
    assert len(found) == 1
    assert (sparse_kernels(pruned, frozenset()), sparse_kernels(pruned, found)) == (1, 0)


@pytest.mark.slow
def test_a_layer_stays_sparse_where_that_is_faster(pruned: tvm.IRModule, tmp_path: Path) -> None:
    assert slower(pruned, tmp_path, spoilt="dense") == frozenset()


def test_what_tuning_does_not_know_is_not_measured(pruned: tvm.IRModule) -> None:
    lowered = fuse(adapt(pruned, HERE.passes, TARGET), "full")
    tasks = tasks_of(lowered, TARGET)
    assert slower_when_sparse(pruned, lowered, tasks, "full", HERE, {}, 0.0) == frozenset()
