"""The main table: every finished cell, and how it stands to the reference engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.devices.graphics.pocl import INSTALL
from harness.records.accuracy import score
from harness.records.compiled_code import InstructionCount, Static
from harness.records.record import Accuracy, Memory, Tuning
from harness.report.data import Cell, Group, Results
from harness.report.tables.model import (
    Entry,
    Table,
    Tone,
    make_table,
    place_entries,
    quantity,
    speed_entry,
    speed_heading,
    verdict_entry,
    why_missing,
)
from harness.report.wording import MISSING, VERDICTS, duration, number, with_interval
from harness.specs.sweep import Kind

_STATIC_COLUMNS = [
    "Registers",
    "Spilled, bytes",
    "Shared memory, bytes",
    "Occupancy",
    "Bound, ms",
    "Static estimate, ms",
    "Kernels verified",
]
_COUNT_COLUMNS = ["Instructions", "Loads and stores", "SIMD", "Branches"]


@dataclass(frozen=True)
class _KindTable:
    """The table of one kind of records: its title, an explanation of its figures, given the names
    of the engines that they are compared with, and the columns that no other kind has, given the
    heading of the speed-ups."""

    title: str
    reading: Callable[[Sequence[str]], str]
    columns: Callable[[str], Sequence[str]]


_KINDS: Mapping[Kind, _KindTable] = {
    "measured": _KindTable(
        "Results",
        lambda names: (
            f"The speed-up is how many times as fast as {' or '.join(names)} a cell is. Only "
            "cells that were measured in the same rounds have one. Second figures are 95 % "
            f"intervals. †: measured in earlier rounds than the others; compare its speed-up, not "
            f"its milliseconds. Trials that are known were in the tuning database. {VERDICTS}"
        ),
        lambda over: ["Latency, ms", "p90, ms", over, "Verdict", "Peak resident, MB"],
    ),
    "emulated-count": _KindTable(
        "Results by emulated count",
        lambda names: (
            "Run and verified in an emulator, which counts the instructions of one inference on "
            "one thread, within the compiled network: not a latency, and not to be ranked against "
            "measured results. Loads and stores include those of vectors."
        ),
        lambda over: _COUNT_COLUMNS,
    ),
    "static": _KindTable(
        "Results by static analysis",
        lambda names: (
            "Compiled for a device that is not here and never timed: not to be ranked against "
            "measured results. Registers are a thread's, shared memory a block's, of the kernel "
            "with most; spilled is the memory traffic of all kernels for want of registers; "
            "occupancy is the share of a multiprocessor's threads that run at a time, of the "
            "kernel with least. No inference takes less than the bound: each kernel's operations "
            "at the described peak or its bytes at the described bandwidth, whichever is longer. "
            "The static estimate, which tuning uses, is the roofline of the busiest multiprocessor "
            "with the bytes that a schedule loads and the threads that fit; it tells schedules "
            "apart, and is no latency. Verified kernels gave the unscheduled kernel's results when "
            "their schedules' OpenCL form ran on a processor; the CUDA compiler's output did not "
            f"run. That takes PoCL ({INSTALL})."
        ),
        lambda over: _STATIC_COLUMNS,
    ),
}


def result_tables(results: Results) -> list[Table]:
    """A table for each kind of record there is; kinds are never ranked against each other."""
    kinds = {group.kind for group in results.groups} or {"measured"}
    return [_table(results, kind) for kind in _KINDS if kind in kinds]


def _table(results: Results, kind: Kind) -> Table:
    over = speed_heading(results)
    rows = [
        _row(group, cell, over)
        for group in results.groups
        if group.kind == kind
        for cell in group.cells
    ]
    without = [*results.without]
    if results.counts.keys() <= {"ok"}:
        without.append("Status")
    if not any(group.reference for group in results.groups):
        without += [over, "Verdict"]
    for other, table in _KINDS.items():
        without += [] if other == kind else table.columns(over)
    return make_table(
        f"results-{kind}",
        _KINDS[kind].title,
        rows,
        reading=_KINDS[kind].reading(results.reference_names),
        without=without,
    )


def _row(group: Group, cell: Cell, over: str) -> dict[str, Entry]:
    record = cell.record
    speed, verdict = _standing(group, cell)
    return {
        **place_entries(cell.key.place),
        "Configuration": Entry(cell.label, detail="" if cell.own else "baseline"),
        "Status": _status(cell),
        "Latency, ms": _latency(cell, group),
        "p90, ms": quantity(record.latency.p90_ms if cell.timed and record.latency else None),
        over: speed,
        "Verdict": verdict,
        **_static(record.static),
        **_counted(record.instructions),
        "Accuracy": _accuracy(cell, record.accuracy),
        "Weights, MB": _memory(cell, record.memory, "weights_mb"),
        "Activations, MB": _memory(cell, record.memory, "activation_mb"),
        "Artifact, MB": _memory(cell, record.memory, "artifact_mb"),
        "Peak resident, MB": _memory(cell, record.memory, "peak_rss_mb"),
        "Tuning trials": _tuning(record.tuning),
    }


def _static(static: Static | None) -> dict[str, Entry]:
    """Figures of a network that was not run."""
    figures = [
        getattr(static, name) if static else None
        for name in (
            "registers_max",
            "spill_bytes",
            "shared_memory_bytes",
            "occupancy_min",
            "bound_ms",
            "estimate_ms",
        )
    ]
    entries = [
        Entry(f"{value:,}", sort=value) if isinstance(value, int) else quantity(value)
        for value in figures
    ]
    return dict(zip(_STATIC_COLUMNS, [*entries, _verified(static)], strict=True))


def _verified(static: Static | None) -> Entry:
    """How many of a network's kernels were, and why others were not."""
    if static is None:
        return Entry(MISSING, tone="quiet")
    if static.schedules is None:
        return Entry("unverified", detail="PoCL was not installed", tone="quiet")
    why = "; ".join(sorted(set(static.schedules.unverified.values())))
    return Entry(
        f"{static.kernels_verified} of {static.schedules.kernels}",
        detail=f"others: {why}" if why else "",
        sort=static.kernels_verified,
    )


def _counted(count: InstructionCount | None) -> dict[str, Entry]:
    """The instructions of a network that was emulated, and of each kind their share."""
    if count is None:
        return {name: Entry(MISSING, tone="quiet") for name in _COUNT_COLUMNS}
    whole = Entry(f"{count.total:,}", sort=count.total)
    parts = [count.load_store, count.simd, count.branch]
    shares = [Entry(f"{part / count.total:.0%}", sort=part / count.total) for part in parts]
    return dict(zip(_COUNT_COLUMNS, [whole, *shares], strict=True))


def _tuning(tuning: Tuning | None) -> Entry:
    if tuning is None:
        return Entry(MISSING, tone="quiet")
    by = "" if tuning.by == "seconds" else f" by {tuning.by}, not by time"
    detail = duration(tuning.seconds) + by
    if tuning.earlier_trials:
        detail += f", {tuning.earlier_trials:,} known"
    return Entry(f"{tuning.trials:,}", detail=detail, sort=tuning.trials)


def _status(cell: Cell) -> Entry:
    tones: dict[str, Tone] = {"ok": "", "failed": "bad", "skipped": "quiet"}
    return Entry(cell.record.status, detail=cell.record.stage or "", tone=tones[cell.record.status])


def _latency(cell: Cell, group: Group) -> Entry:
    latency = cell.record.latency
    if not cell.timed or latency is None:
        return Entry(MISSING, tone="quiet")
    text, interval = with_interval(latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
    mark = " †" if cell.record.session != group.latest_session else ""
    return Entry(text + mark, detail=interval, sort=latency.median_ms)


def _standing(group: Group, cell: Cell) -> tuple[Entry, Entry]:
    """The speed-up over the reference with its interval, and the verdict."""
    nothing = Entry(MISSING, tone="quiet")
    if not cell.timed:
        return nothing, nothing
    if cell is group.reference:
        return Entry("1", sort=1.0, tone="quiet"), Entry("reference", tone="quiet")
    if group.reference is None:
        return nothing, Entry(f"no {group.reference_name} to compare with", tone="quiet")
    found = group.against_reference(cell)
    if found is None:
        return nothing, Entry("not measured together", tone="quiet")
    return speed_entry(found), verdict_entry(found)


def _accuracy(cell: Cell, accuracy: Accuracy | None) -> Entry:
    if accuracy is None:
        return Entry(MISSING, detail=why_missing(cell, "not scored"), tone="quiet")
    if not accuracy.defined:
        return Entry(score(accuracy.value), detail=accuracy.metric, tone="bad")
    interval = f"{number(accuracy.ci_low)}–{number(accuracy.ci_high)}"
    return Entry(number(accuracy.value, 4), detail=interval, sort=accuracy.value)


def _memory(cell: Cell, memory: Memory | None, figure: str) -> Entry:
    value: float | None = getattr(memory, figure) if memory else None
    unknown = "not measured" if cell.own else ""  # engines do not report it
    return quantity(value, why_missing=why_missing(cell, unknown))
