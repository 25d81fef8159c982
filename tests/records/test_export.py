from __future__ import annotations

import json
import math
import sqlite3
import sys
from pathlib import Path

import pandas as pd
import pytest
from example_results import example_record, example_results

from harness.records.compiled_code import LoopThroughput, LoopThroughputs
from harness.records.export import table, write_exports
from harness.records.record import CellKey, fingerprint
from harness.records.store import FILE_NAME, Store

CONTRACT = [
    *("model", "target", "configuration", "engine", "status", "kind"),
    *("latency_ms_median", "latency_ms_p90", "latency_ms_ci_low", "latency_ms_ci_high"),
    *("weights_mb", "activation_mb", "peak_rss_mb", "artifact_mb"),
    *("accuracy", "accuracy_metric", "accuracy_samples", "max_abs_error"),
    *("tuning_trials", "tuning_seconds", "reason"),
]
KEY = CellKey(model="m", target="t", configuration="fused", engine="tvm")


def test_table_columns_begin_with_the_promised_ones(tmp_path: Path) -> None:
    with Store(example_results(tmp_path) / FILE_NAME) as store:
        assert list(table(store).columns)[: len(CONTRACT)] == CONTRACT


def test_table_rows_agree_with_the_records_when_cells_differ_in_status(tmp_path: Path) -> None:
    with Store(example_results(tmp_path) / FILE_NAME) as store:
        cells, records = table(store), store.records()
    assert list(cells.index) == [record.fingerprint for record in records]
    for record in records:
        row = cells.loc[record.fingerprint]
        assert row["model"] == record.key.model
        assert row["status"] == record.status
        if record.latency:
            assert row["latency_ms_median"] == record.latency.median_ms
        else:
            assert row["latency_ms_median"] is pd.NA
            assert row["reason"] == record.reason
    assert set(cells["status"]) == {"ok", "failed", "skipped"}


def test_table_cell_is_pending_when_it_has_no_record(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([("aa", KEY), ("bb", KEY.model_copy(update={"configuration": "tuned"}))])
        store.write(example_record(KEY).model_copy(update={"fingerprint": "aa"}))
        assert list(table(store)["status"]) == ["ok", "pending"]


@pytest.mark.parametrize("kind", ["emulated-count", "static"])
def test_table_has_no_latency_when_nothing_was_timed(tmp_path: Path, kind: str) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(fingerprint(str(KEY)), KEY)])
        store.write(example_record(KEY, kind=kind))
        row = table(store).iloc[0]
    assert row["kind"] == kind
    assert row.filter(like="latency_ms").isna().all()
    assert row["weights_mb"] == pytest.approx(0.31)


def test_table_has_the_share_of_the_peak_that_hot_loops_could_reach(tmp_path: Path) -> None:
    loop = LoopThroughput(
        kernel="k",
        loop=".L1",
        flops=100,
        instructions=10,
        multiply_accumulates=8,
        cycles=4,
        reciprocal_throughput=4,
        busiest="dispatch",
        busiest_cycles=4,
    )
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(fingerprint(str(KEY)), KEY)])
        store.write(example_record(KEY, loops=LoopThroughputs(peak=4, loops=(loop,))))
        assert list(table(store)["loop_peak_share"]) == [0.5]


def test_write_exports_csv_reads_back_as_the_table_when_parsed(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    with Store(folder / FILE_NAME) as store:
        write_exports(store, folder)
        cells = table(store)
    read = pd.read_csv(folder / "results.csv")
    assert list(read.columns) == list(cells.columns)
    assert list(read["latency_ms_median"].dropna()) == list(cells["latency_ms_median"].dropna())
    assert list(read["tuning_trials"].dropna()) == [512, 512]


def test_write_exports_json_is_strict_when_a_figure_is_infinite(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(fingerprint(str(KEY)), KEY)])
        store.write(example_record(KEY))
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute(
            "UPDATE record SET json = json_set(json, '$.verification.max_abs_error', 123456.0)"
        )
        database.execute("UPDATE record SET json = replace(json, '123456.0', 'Infinity')")
    database.close()
    with Store(tmp_path / FILE_NAME) as store:
        assert table(store)["max_abs_error"].iloc[0] == math.inf
        write_exports(store, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert document["schema"] == 1
    assert document["cells"][0]["max_abs_error"] is None
    assert document["cells"][0]["accuracy"] == 0.9215


def test_write_exports_parquet_equals_the_table_when_pyarrow_is_there(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = example_results(tmp_path)
    with Store(folder / FILE_NAME) as store:
        written = write_exports(store, folder)
        cells = table(store)
    assert written[-1].name == "results.parquet"
    read = pd.read_parquet(written[-1]).set_index("fingerprint")
    assert list(read["latency_ms_median"].dropna()) == list(cells["latency_ms_median"].dropna())
    assert list(read["status"]) == list(cells["status"])


def test_write_exports_leaves_parquet_out_when_pyarrow_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    folder = example_results(tmp_path)
    with Store(folder / FILE_NAME) as store:
        assert [path.name for path in write_exports(store, folder)] == [
            "results.csv",
            "results.json",
        ]


def test_write_exports_gives_the_same_bytes_when_run_again(tmp_path: Path) -> None:
    folder = example_results(tmp_path / "results")
    with Store(folder / FILE_NAME) as store:
        first = [path.read_bytes() for path in write_exports(store, tmp_path / "a")]
        second = [path.read_bytes() for path in write_exports(store, tmp_path / "b")]
    assert first == second
    assert not list(tmp_path.rglob(".*")), "no temporary file is left"
