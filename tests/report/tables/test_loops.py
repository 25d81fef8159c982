from __future__ import annotations

from pathlib import Path

from example_results import example_record, example_results

from harness.records.compiled_code import InstructionCount, LoopThroughput, LoopThroughputs
from harness.records.record import CellKey, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.report.content import compose
from harness.report.data import load
from harness.report.tables import loop_table

LOOP = LoopThroughput(
    kernel="fused_conv2d",
    loop=".LBB17_5",
    flops=100,
    instructions=28,
    multiply_accumulates=64,
    cycles=20,
    reciprocal_throughput=16.5,
    busiest="A57UnitW",
    busiest_cycles=16,
    calls=2,
)
ESTIMATED = LoopThroughputs(
    by="llvm-mca 14.0.6",
    scheduling_model="Cortex-A57",
    peak=4,
    loops=(LOOP,),
    unestimated={"reshape": "it has no loop"},
)


def counted(folder: Path, **cells: tuple[int, LoopThroughputs | None]) -> Path:
    folder.mkdir(exist_ok=True)
    with Store(folder / FILE_NAME, create=True) as store:
        for name, (total, loops) in cells.items():
            key = CellKey(model="m", target="t", configuration=name, engine="tvm")
            record = example_record(
                key,
                kind="emulated-count",
                fingerprint=fingerprint([name]),
                latency=None,
                instructions=InstructionCount(total=total, load_store=1, simd=1, branch=1),
                loops=loops,
            )
            store.plan([*store.planned().items(), (record.fingerprint, key)])
            store.write(record)
    return folder


def test_loops_are_those_of_fewest_instructions_with_what_was_estimated(tmp_path: Path) -> None:
    other = LoopThroughputs(reason="why")
    table = loop_table(load(counted(tmp_path, plain=(9, other), tuned=(7, ESTIMATED))))
    loop, without = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert {name: (entry.text, entry.detail) for name, entry in loop.items()} == {
        "Model": ("m", ""),
        "Configuration": ("tuned", ""),
        "Kernel": ("fused_conv2d", ""),
        "Loop": (".LBB17_5", "2 calls left out"),
        "Cycles": ("20.0", "16.5"),
        "Instructions": ("28", ""),
        "Instructions a cycle": ("1.40", ""),
        "Multiply-accumulates a cycle": ("3.20", ""),
        "Of peak": ("80 %", ""),
        "Busiest resource": ("A57UnitW", "80 %"),
        "Scheduling model": ("Cortex-A57", "llvm-mca 14.0.6"),
    }
    assert (without["Kernel"].text, without["Kernel"].detail) == ("reshape", "it has no loop")
    assert without["Cycles"].missing


def test_why_nothing_was_estimated_is_said(tmp_path: Path) -> None:
    reason = "llvm-mca is not installed"
    table = loop_table(load(counted(tmp_path, plain=(9, LoopThroughputs(reason=reason)))))
    (row,) = table.rows
    assert row[table.columns.index("Kernel")].detail == reason


def test_only_a_report_of_emulated_networks_has_their_loops(tmp_path: Path) -> None:
    found = [
        [section.name for section in compose(load(folder)).sections].count("loops")
        for folder in (
            counted(tmp_path / "estimated", plain=(9, ESTIMATED)),
            counted(tmp_path / "from-before", plain=(9, None)),
            example_results(tmp_path / "measured"),
        )
    ]
    assert found == [1, 0, 0]
