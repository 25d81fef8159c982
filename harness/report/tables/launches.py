"""Kernels of networks that were compiled for a graphics processor that is not here."""

from __future__ import annotations

from harness.records.compiled_code import InstructionMix, Launch
from harness.report.data import Cell, Group, Results, lowest
from harness.report.tables.model import Entry, Table, count, make_table, place_entries, quantity
from harness.report.wording import MISSING

_MIX_COLUMNS = {
    "Floating point": ("floating_point",),
    "Integer": ("integer",),
    "Global loads, stores": ("global_loads", "global_stores"),
    "Shared loads, stores": ("shared_loads", "shared_stores"),
    "Barriers": ("barriers",),
    "Branches": ("branches",),
    "Other": ("other",),
}


def launch_table(results: Results) -> Table:
    """The launches of each model's configuration with the lowest static estimate."""
    launches = [
        (cell, launch)
        for cell in map(_shown, results.groups)
        if cell is not None and cell.record.static is not None
        for launch in cell.record.static.launches
    ]
    rows = [
        {
            **place_entries(cell.key.place),
            "Configuration": Entry(cell.label),
            **_launch(launch),
        }
        for cell, launch in launches
    ]
    without = [*results.without]
    if not any(launch.instructions for _, launch in launches):  # records of earlier versions
        without += _MIX_COLUMNS
    return make_table(
        "launches",
        "Kernels by static analysis",
        rows,
        reading="In the configuration of each model with the lowest static estimate. Registers are "
        "a thread's, shared memory a block's. Instructions are those in a kernel's code, each "
        "counted once however often it runs: of its PTX, which the assembler has yet to give the "
        "machine's registers. Fused multiply-adds are one instruction of floating point; integer "
        "arithmetic is of addresses, too.",
        without=without,
        folded=True,
    )


def _shown(group: Group) -> Cell | None:
    """The analysed configuration with the lowest static estimate, those without one last."""
    analysed = (cell for cell in group.cells if cell.record.static)
    return lowest(analysed, _estimate)


def _estimate(cell: Cell) -> float | None:
    static = cell.record.static
    return None if static is None else static.estimate_ms


def _launch(launch: Launch) -> dict[str, Entry]:
    return {
        "Kernel": Entry(launch.name),
        "Registers": count(launch.registers),
        "Spilled, bytes": count(launch.spill_bytes),
        "Shared memory, bytes": count(launch.shared_memory_bytes),
        "Threads a block": count(launch.threads),
        "Occupancy": quantity(launch.occupancy),
        **{name: _counts(launch.instructions, fields) for name, fields in _MIX_COLUMNS.items()},
    }


def _counts(mix: InstructionMix | None, fields: tuple[str, ...]) -> Entry:
    if mix is None:
        return Entry(MISSING, tone="quiet")
    found = [getattr(mix, field) for field in fields]
    return Entry(", ".join(f"{each:,}" for each in found), sort=sum(found))
