from __future__ import annotations

from pathlib import Path

from example_results import example_record, example_results

from harness.records.compiled_code import InstructionMix, Launch, Static
from harness.records.record import CellKey, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.report.content import compose
from harness.report.data import load
from harness.report.tables import launch_table

MIX = InstructionMix(form="ptx", floating_point=1304, global_loads=20, global_stores=8)


def launch(name: str, mix: InstructionMix | None) -> Launch:
    return Launch(
        name=name, registers=64, shared_memory_bytes=0, spill_bytes=0, threads=32, instructions=mix
    )


def analysed(folder: Path, mix: InstructionMix | None = MIX, **estimates: float | None) -> Path:
    folder.mkdir(exist_ok=True)
    with Store(folder / FILE_NAME, create=True) as store:
        for name, estimate in estimates.items():
            key = CellKey(model="m", target="t", configuration=name, engine="tvm")
            launches = (launch("first", mix), launch("second", None))
            record = example_record(
                key,
                kind="static",
                fingerprint=fingerprint([name]),
                latency=None,
                static=Static(launches=launches, estimate_ms=estimate),
            )
            store.plan([*store.planned().items(), (record.fingerprint, key)])
            store.write(record)
    return folder


def test_launches_are_those_of_the_lowest_estimate_with_their_instructions(tmp_path: Path) -> None:
    table = launch_table(load(analysed(tmp_path, unknown=None, plain=2.0, tuned=1.0)))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert {row["Configuration"].text for row in rows} == {"tuned"}
    shown = [
        (row["Kernel"].text, row["Floating point"].text, row["Global loads, stores"].text)
        for row in rows
    ]
    assert shown == [("first", "1,304", "20, 8"), ("second", "–", "–")]
    assert rows[0]["Global loads, stores"].sort == 28


def test_records_from_before_instructions_were_counted_have_no_columns_of_them(
    tmp_path: Path,
) -> None:
    table = launch_table(load(analysed(tmp_path, mix=None, plain=1.0)))
    assert len(table.rows) == 2 and table.columns[-1] == "Occupancy"


def test_only_a_report_of_analysed_networks_has_their_kernels(tmp_path: Path) -> None:
    analysed(tmp_path / "static", plain=None)
    measured = example_results(tmp_path / "measured")
    found = [
        [section.name for section in compose(load(folder)).sections].count("launches")
        for folder in (tmp_path / "static", measured)
    ]
    assert found == [1, 0]
