"""Estimates of kernels' hot loops on a processor that was emulated."""

from __future__ import annotations

from harness.records.compiled_code import LoopThroughput, LoopThroughputs
from harness.report.data import Cell, Group, Results, lowest
from harness.report.tables.model import Entry, Table, count, make_table, place_entries, quantity
from harness.report.wording import MISSING, number, share

_NOTHING = Entry(MISSING, tone="quiet")
_COLUMNS = (
    "Loop",
    "Cycles",
    "Instructions",
    "Instructions a cycle",
    "Multiply-accumulates a cycle",
    "Of peak",
    "Busiest resource",
)


def loop_table(results: Results) -> Table:
    """The loops of each model's configuration that executes fewest instructions."""
    rows = []
    for group in results.groups:
        cell = _shown(group)
        if cell is None or cell.record.loops is None:
            continue
        for kernel, figures in _kernels(cell.record.loops):
            rows.append(
                {
                    **place_entries(cell.key.place),
                    "Configuration": Entry(cell.label),
                    "Kernel": kernel,
                    **figures,
                    "Scheduling model": Entry(
                        cell.record.loops.scheduling_model or MISSING,
                        detail=cell.record.loops.by or "",
                    ),
                }
            )
    return make_table(
        "loops",
        "Hot loops by static estimate",
        rows,
        reading="In the configuration of each model that executes fewest instructions: of each "
        "kernel the innermost loop that multiplies and accumulates most, once through, as llvm-mca "
        "simulates it on one core. That assumes that all loads hit the first-level cache and that "
        "each instruction of the loop runs each time: it is no latency. The second number of "
        "cycles is the count if no instruction waited for another's result. LLVM has no "
        "scheduling model of many processors and uses the one named here; the peak is that "
        "model's, not the described processor's. The busiest resource is in use for that part of "
        "the cycles; 'dispatch' is how fast instructions are given to the resources.",
        without=results.without,
        folded=True,
    )


def _shown(group: Group) -> Cell | None:
    """The configuration that executes fewest instructions, of those whose loops were looked at."""
    looked_at = (cell for cell in group.cells if cell.record.loops)
    return lowest(looked_at, _executed)


def _executed(cell: Cell) -> float | None:
    counted = cell.record.instructions
    return None if counted is None else counted.total


def _kernels(found: LoopThroughputs) -> list[tuple[Entry, dict[str, Entry]]]:
    """Each kernel with the figures of its loop, then those without, with the reason."""
    nothing = dict.fromkeys(_COLUMNS, _NOTHING)
    rows = [(Entry(loop.kernel), _figures(found, loop)) for loop in found.loops]
    rows += [(Entry(name, detail=why), nothing) for name, why in found.unestimated.items()]
    if found.reason is not None:
        rows.append((Entry("none estimated", detail=found.reason, tone="quiet"), nothing))
    return rows


def _figures(found: LoopThroughputs, loop: LoopThroughput) -> dict[str, Entry]:
    part = found.share_of_peak(loop)
    calls = f"{loop.calls} calls left out" if loop.calls else ""
    entries = [
        Entry(loop.loop, detail=calls),
        Entry(
            number(loop.cycles), detail=number(loop.reciprocal_throughput), sort=float(loop.cycles)
        ),
        count(loop.instructions),
        quantity(loop.instructions_a_cycle),
        quantity(loop.multiply_accumulates_a_cycle),
        _NOTHING if part is None else Entry(share(part), sort=part),
        Entry(loop.busiest, detail=share(loop.busiest_cycles / loop.cycles)),
    ]
    return dict(zip(_COLUMNS, entries, strict=True))
