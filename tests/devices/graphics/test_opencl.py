"""Kernels that are scheduled for a graphics processor run on this one, or say why they cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from exchanging_kernel import COLUMNS, ROWS, exchanging_in
from machine_needs import needs_pocl

from harness.compiler.api import PrimFunc, Schedule, target_of, te, tirx, tvm
from harness.devices.graphics import opencl
from harness.devices.graphics.opencl import NotOpenCL, OpenCLKernel
from harness.hardware import load_target
from harness.schedules.untuned import schedule_untuned

TARGET = target_of(load_target("a100").tvm.as_tvm())
EXTENT = 8192
_TENSOR_CORE = "tirx.tvm_load_matrix_sync"


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def in_blocks_of(
    threads: int, function: Callable[[tirx.PrimExpr], tirx.PrimExpr] = lambda value: value + 1
) -> PrimFunc:
    """A function of each element, one a thread."""
    source = te.placeholder((EXTENT,), name="source")
    result = te.compute((EXTENT,), lambda at: function(source[at]), name="result")
    schedule = Schedule(te.create_prim_func([source, result]))
    outer, inner = schedule.split(schedule.get_loops("result")[0], [None, threads])
    schedule.bind(outer, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")
    return schedule.mod["main"]


@needs_pocl
def test_threads_read_what_others_wrote_to_shared_memory() -> None:
    source = random(ROWS, COLUMNS)
    (found,) = OpenCLKernel(exchanging_in("shared")["main"], TARGET)([source])
    np.testing.assert_array_equal(found, 2 * source[:, ::-1])


@needs_pocl
def test_parts_of_a_kernel_are_launched_one_after_another() -> None:
    left, right = (te.placeholder((64, 64), name=name) for name in ("left", "right"))
    axis, column = te.reduce_axis((0, 64), name="axis"), te.reduce_axis((0, 64), name="column")
    product = te.compute(
        (64, 64), lambda i, j: te.sum(left[i, axis] * right[axis, j], axis=axis), name="product"
    )
    sums = te.compute((64,), lambda i: te.sum(product[i, column], axis=column), name="sums")
    module = tvm.IRModule({"main": te.create_prim_func([left, right, sums])})
    kernel = OpenCLKernel(schedule_untuned(module, TARGET, 1)["main"], TARGET)
    given = [random(64, 64), random(64, 64) + 1]
    np.testing.assert_allclose(kernel(given)[0], (given[0] @ given[1]).sum(1), rtol=1e-3, atol=1e-3)


@needs_pocl
def test_what_is_not_written_is_not_a_number() -> None:
    source = te.placeholder((EXTENT,), name="source")
    result = te.compute((EXTENT,), lambda at: source[at] + 1, name="result")
    schedule = Schedule(te.create_prim_func([source, result]))
    schedule.bind(schedule.get_loops("result")[0], "blockIdx.x")
    half = (
        schedule.mod["main"]
        .script()
        .replace(f"thread_binding({EXTENT}", f"thread_binding({EXTENT // 2}")
    )
    (found,) = OpenCLKernel(tvm.script.from_source(half), TARGET)([random(EXTENT)])
    assert np.isfinite(found[: EXTENT // 2]).all() and np.isnan(found[EXTENT // 2 :]).all()


@needs_pocl
@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (lambda: exchanging_in("warp")["main"], "memory that OpenCL lacks: warp"),
        (lambda: in_blocks_of(EXTENT), f"{EXTENT} threads a block, and PoCL takes [0-9]+"),
        (
            lambda: in_blocks_of(
                64, lambda value: tirx.call_extern("float32", "__shfl_sync", 0, value, 0, 32)
            ),
            "PoCL cannot compile it: error: .*'__shfl_sync'",
        ),
        (
            lambda: in_blocks_of(
                64, lambda value: tirx.call_intrin("float32", _TENSOR_CORE, *[value] * 8)
            ),
            "TVM cannot compile it to OpenCL: ",
        ),
        (lambda: exchanging_in("shared.dyn")["main"], "memory that OpenCL lacks: shared.dyn"),
    ],
    ids=["warp", "threads", "shuffle", "tensor-core", "dynamic"],
)
def test_kernel_that_opencl_cannot_run_says_why(kernel: Callable[[], PrimFunc], why: str) -> None:
    with pytest.raises(NotOpenCL, match=why) as raised:
        OpenCLKernel(kernel(), TARGET)([random(EXTENT)])
    assert "\n" not in str(raised.value)


@needs_pocl
def test_serial_loop_around_launches_is_refused() -> None:
    source = te.placeholder((4, 64), name="source")
    result = te.compute((4, 64), lambda row, at: source[row, at] + 1, name="result")
    schedule = Schedule(te.create_prim_func([source, result]))
    schedule.bind(schedule.get_loops("result")[1], "threadIdx.x")
    with pytest.raises(NotOpenCL, match="does not only launch, but has a For"):
        OpenCLKernel(schedule.mod["main"], TARGET)([random(4, 64)])


def test_without_pocl_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencl, "opencl_processor", lambda: None)
    with pytest.raises(NotOpenCL, match="apt install pocl-opencl-icd; pip install 'layeredge"):
        OpenCLKernel(in_blocks_of(64), TARGET)
