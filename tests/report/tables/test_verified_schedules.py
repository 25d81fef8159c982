"""The report says how many kernels of a network that was only compiled are verified."""

from __future__ import annotations

from pathlib import Path

from example_results import example_record

from harness.records.compiled_code import KernelVerification, Static
from harness.records.record import CellKey, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.report.data import load
from harness.report.tables import result_tables

VERIFIED = {
    "all": KernelVerification(by="PoCL 3.1", kernels=3, unverified={}),
    "some": KernelVerification(by="PoCL 3.1", kernels=3, unverified={"a": "why", "b": "why"}),
    "none": None,
}


def test_report_says_how_many_kernels_are_verified_and_why_others_are_not(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        for name, schedules in VERIFIED.items():
            key = CellKey(model="m", target="t", configuration=name, engine="tvm")
            static = Static(launches=(), schedules=schedules)
            record = example_record(
                key, kind="static", fingerprint=fingerprint([name]), latency=None, static=static
            )
            store.plan([*store.planned().items(), (record.fingerprint, key)])
            store.write(record)
    (table,) = result_tables(load(tmp_path))
    names, verified = (table.columns.index(name) for name in ("Configuration", "Kernels verified"))
    assert {row[names].text: (row[verified].text, row[verified].detail) for row in table.rows} == {
        "all": ("3 of 3", ""),
        "some": ("1 of 3", "others: why"),
        "none": ("unverified", "PoCL was not installed"),
    }
    assert "apt install pocl-opencl-icd" in table.reading
