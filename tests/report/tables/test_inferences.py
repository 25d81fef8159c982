from __future__ import annotations

from pathlib import Path

from example_results import example_record

from harness.records.record import CellKey, Inferences
from harness.records.store import FILE_NAME, Store
from harness.report.data import load
from harness.report.tables import inferences_table

KEY = CellKey(model="m", target="t", configuration="fused", engine="tvm")


def test_percentiles_are_shown_as_far_as_they_are_known(tmp_path: Path) -> None:
    timed = Inferences(count=1200, p50_ms=1.0, p90_ms=2.0, p99_ms=3.25)
    with Store(tmp_path / FILE_NAME, create=True) as store:
        record = example_record(KEY, inferences=timed)
        store.plan([(record.fingerprint, record.key)])
        store.write(record)
    (row,) = (table := inferences_table(load(tmp_path))).rows
    found = {name: entry.text for name, entry in zip(table.columns, row, strict=True)}
    assert found == {
        "Model": "m",
        "Configuration": "fused",
        "p50, ms": "1.00",
        "p90, ms": "2.00",
        "p99, ms": "3.25",
        "p99.9, ms": "–",
        "Inferences": "1,200",
    }
