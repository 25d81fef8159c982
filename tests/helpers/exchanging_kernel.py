"""A kernel whose threads read what others of their block wrote, from some kind of memory."""

from __future__ import annotations

from harness.compiler.api import Schedule, te, tvm

ROWS, COLUMNS = 64, 32


def exchanging() -> tvm.IRModule:
    """Rows that are doubled and written backwards."""
    source = te.placeholder((ROWS, COLUMNS), name="source")
    doubled = te.compute((ROWS, COLUMNS), lambda row, at: 2 * source[row, at], name="doubled")
    result = te.compute(
        (ROWS, COLUMNS), lambda row, at: doubled[row, COLUMNS - 1 - at], name="result"
    )
    return tvm.IRModule({"main": te.create_prim_func([source, result])})


def exchanging_in(scope: str) -> tvm.IRModule:
    """A block of threads a row, which keeps what is doubled in memory of a scope. `shared` is
    right; `local` is wrong, as no other thread can read it; `warp` is right, but not in OpenCL."""
    schedule = Schedule(exchanging())
    row, column = schedule.get_loops("result")
    schedule.bind(row, "blockIdx.x")
    schedule.bind(column, "threadIdx.x")
    schedule.compute_at("doubled", row)
    schedule.set_scope("doubled", 0, scope)
    schedule.bind(schedule.get_loops("doubled")[-1], "threadIdx.x")
    return schedule.mod
