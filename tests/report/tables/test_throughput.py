from __future__ import annotations

from pathlib import Path

import numpy as np
from example_results import example_record

from harness.records.record import CellKey, Throughput
from harness.records.store import FILE_NAME, INTERVALS, SECONDS, Store
from harness.report.data import load
from harness.report.tables import throughput_table
from harness.specs.settings import Settings


def test_throughput_is_compared_with_the_reference_by_its_own_samples(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    series: dict[str, dict[str, np.ndarray]] = {SECONDS: {}, INTERVALS: {}}
    records = []
    for engine, latency, interval in (("tvm", 4e-3, 1e-3), ("onnxruntime", 2e-3, 2e-3)):
        key = CellKey(
            model="m",
            target="t",
            configuration="fused" if engine == "tvm" else "baseline",
            engine=engine,
            settings=Settings(streams=4),
        )
        rate = 1 / interval
        record = example_record(
            key,
            1e3 * latency,
            fingerprint=engine,
            session="one",
            throughput=Throughput(per_second=rate, ci_low=0.9 * rate, ci_high=1.1 * rate),
        )
        records.append(record)
        for quantity, value in ((SECONDS, latency), (INTERVALS, interval)):
            series[quantity][engine] = value * generator.normal(1, 0.01, 40)
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record, series)
    table = throughput_table(load(tmp_path))
    ours, theirs = (
        {name: entry.text for name, entry in zip(table.columns, row, strict=True)}
        for row in table.rows
    )
    assert ours["Verdict"] == "faster" and ours["Speed-up over ONNX Runtime"].startswith(
        ("1.9", "2.0")
    )
    assert ours["Inferences a second"] == "1,000" and theirs["Verdict"] == "reference"
