from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from machine_needs import needs_llvm_mca

from harness.compiler.api import Schedule, te, tvm
from harness.devices.emulated.loop_throughput import INSTALL, hottest_loop, loop_throughputs
from harness.hardware import load_target
from harness.records.artifact import KernelDescription
from harness.records.compiled_code import LoopThroughput, LoopThroughputs
from harness.specs.target import TargetSpec

SIZE = 64
PI = load_target("raspberry-pi-4")
COPY = ".L1: / ldr q0, [x1] / str q0, [x2] / subs x0, x0, #1 / b.ne .L1"
SCALAR = ".L2: / fmadd s0, s1, s2, s0 / fadd s3, s3, s0 / subs x0, x0, #1 / b.ne .L2"
VECTOR = ".L3: / fmla v0.4s, v1.4s, v2.s[0] / subs x0, x0, #1 / b.ne .L3"
SUM = ".L4: / fadd v0.4s, v0.4s, v1.4s / subs x0, x0, #1 / b.ne .L4"
SCALABLE = ".L5: / fmla z0.s, p0/m, z1.s, z2.s / subs x0, x0, #1 / b.ne .L5"
UNROLLED = f".L6: / fmla v0.4s, v1.4s, v2.4s / {COPY} / subs x3, x3, #1 / b.ne .L6"


def like_the_pi(mcpu: str, simd_bits: int = 128) -> TargetSpec:
    return PI.model_copy(
        update={
            "tvm": PI.tvm.model_copy(update={"mcpu": mcpu}),
            "hardware": PI.hardware.model_copy(update={"simd_bits": simd_bits}),
        }
    )


def kernel(name: str) -> KernelDescription:
    return KernelDescription(name=name, calls=2, flops=100.0, bytes=1.0, tuned=False)


@cache
def product() -> tvm.runtime.Module:
    """A product of matrices, as vectors of a row, and a kernel without a loop."""
    left, right = (te.placeholder((SIZE, SIZE), name=name) for name in ("left", "right"))
    step = te.reduce_axis((0, SIZE), name="step")
    result = te.compute(
        (SIZE, SIZE),
        lambda row, column: te.sum(left[row, step] * right[step, column], axis=step),
        name="result",
    )
    schedule = Schedule(te.create_prim_func([left, right, result]))
    row, column, step = schedule.get_loops("result")
    outer, inner = schedule.split(column, [None, 4])
    schedule.reorder(row, outer, step, inner)
    schedule.vectorize(inner)
    schedule.decompose_reduction("result", step)
    single = te.placeholder((1,), name="single")
    double = te.compute((1,), lambda at: single[at] * 2.0, name="double")
    module = tvm.IRModule(
        {
            "product": schedule.mod["main"].with_attr("global_symbol", "product"),
            "double": te.create_prim_func([single, double]).with_attr("global_symbol", "double"),
        }
    )
    return tvm.compile(module, target=tvm.target.Target(PI.tvm.as_tvm())).mod


@needs_llvm_mca
def test_hot_loop_of_a_compiled_kernel_is_estimated() -> None:
    found = loop_throughputs(PI, product(), [kernel("product"), kernel("double")])
    (loop,) = found.loops
    assert found.reason is None and (found.by or "").startswith("llvm-mca ")
    assert (found.scheduling_model, found.peak) == ("Cortex-A57", 4)
    assert (loop.kernel, loop.flops) == ("product", 200)
    assert loop.multiply_accumulates > 0 and loop.multiply_accumulates % 4 == 0
    assert loop.cycles >= loop.reciprocal_throughput >= loop.multiply_accumulates / 4
    assert loop.busiest and 0 < loop.busiest_cycles <= loop.cycles
    assert found.unestimated == {"double": "it has no loop"}


@needs_llvm_mca
def test_processor_that_the_analyser_does_not_know_is_said() -> None:
    found = loop_throughputs(like_the_pi("cortex-a9999"), product(), [kernel("product")])
    assert not found.loops and found.by is not None
    assert "'cortex-a9999' is not a recognized processor" in (found.reason or "")


@needs_llvm_mca
def test_peak_is_of_scalable_vectors_where_the_model_has_them() -> None:
    narrow = loop_throughputs(like_the_pi("a64fx"), product(), [])
    wide = loop_throughputs(like_the_pi("a64fx", 512), product(), [])
    without = loop_throughputs(like_the_pi("cortex-a72", 512), product(), [])
    assert narrow.peak and wide.peak == 4 * narrow.peak
    assert without.peak == 4


def test_without_the_analyser_the_reason_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = loop_throughputs(PI, product(), [kernel("product")])
    assert found == LoopThroughputs(reason=f"llvm-mca is not installed; {INSTALL}")


@pytest.mark.parametrize(
    ("code", "hottest"),
    [
        ([COPY, SCALAR, VECTOR], ".L3"),
        ([VECTOR, SCALABLE], ".L5"),
        ([UNROLLED], ".L6"),
        ([UNROLLED, SCALAR], ".L2"),
        ([COPY, SUM], ".L4"),
    ],
)
def test_hottest_loop_multiplies_and_accumulates_most(code: list[str], hottest: str) -> None:
    lines = " / ".join(code).split(" / ")
    assert hottest_loop({"__tvm_ffi_k": lines}, "k", 256).label == hottest


def test_share_of_the_peak_is_of_the_time_that_operations_take() -> None:
    def loop(flops: float, products: int) -> LoopThroughput:
        return LoopThroughput(
            kernel="k",
            loop=".L1",
            flops=flops,
            instructions=10,
            multiply_accumulates=products,
            cycles=5,
            reciprocal_throughput=5,
            busiest="dispatch",
            busiest_cycles=5,
        )

    found = LoopThroughputs(peak=4, loops=(loop(300, 20), loop(100, 5), loop(50, 0)))
    assert [found.share_of_peak(each) for each in found.loops] == [1, 0.25, None]
    assert found.peak_share == pytest.approx(400 / (300 + 400))
    assert LoopThroughputs(peak=4, loops=(loop(50, 0),)).peak_share is None
