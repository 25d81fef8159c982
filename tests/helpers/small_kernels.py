"""Small kernels for the tests, and candidates for them that are right, wrong, or crash."""

from __future__ import annotations

from pathlib import Path

from harness.compiler.api import Schedule, te, tirx, trace_json, tvm
from harness.tuning.candidates.process import Candidate, KernelTask


def summing(extent: int, body: str = "sum") -> tvm.IRModule:
    """Sums of the rows of a square, or what is to be taken for that: `crash`, `wrong`, `capped`, or
    `behind` and `before`, which are right, but read outside of the square."""
    source = te.placeholder((extent, extent), name="source")
    if body == "crash":
        # Far outside the argument: a real segmentation fault in compiled code.
        result = te.compute((extent,), lambda at: source[at + 2**40, at], name="result")
    elif body == "wrong":
        result = te.compute((extent,), lambda at: source[at, 0], name="result")
    elif body in ("behind", "before"):
        # What is loaded there is too small to count.
        off = extent if body == "behind" else -extent
        axis = te.reduce_axis((0, extent), name="axis")
        result = te.compute(
            (extent,),
            lambda at: te.sum(
                tirx.max(source[at, axis], tirx.min(source[at + off, axis], tirx.const(-1e38))),
                axis=axis,
            ),
            name="result",
        )
    else:
        most = 100.0 if body == "capped" else 1e30
        axis = te.reduce_axis((0, extent), name="axis")
        result = te.compute(
            (extent,),
            lambda at: te.sum(tirx.min(source[at, axis], tirx.const(most, "float32")), axis=axis),
            name="result",
        )
    return tvm.IRModule({"main": te.create_prim_func([source, result])})


def task(extent: int, inputs: Path | None = None) -> KernelTask:
    return KernelTask("sum", summing(extent), 1, inputs=inputs)


def module(extent: int, body: str = "sum") -> Candidate:
    return Candidate(module=summing(extent, body))


def split(extent: int, factor: int) -> Candidate:
    """A trace that splits the outer loop."""
    schedule = Schedule(summing(extent))
    schedule.split(schedule.get_loops("result")[0], [None, factor])
    return Candidate(trace=trace_json(schedule.trace))
