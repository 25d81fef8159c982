"""The store keeps what it is given, in order, and refuses what it cannot read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from example_results import example_record, example_results

from harness.errors import InputError
from harness.records.record import CellKey, Verification
from harness.records.store import FILE_NAME, SECONDS, STORE_SCHEMA, Store


def key(configuration: str) -> CellKey:
    return CellKey(model="m", target="t", configuration=configuration, engine="tvm")


def test_records_come_back_as_written_in_the_order_of_the_plan(tmp_path: Path) -> None:
    first, second = example_record(key("a")), example_record(key("b"))
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(second.fingerprint, second.key), (first.fingerprint, first.key)])
        store.write(first)
        store.write(second)
    with Store(tmp_path / FILE_NAME) as store:
        assert store.records() == [second, first]
        assert store.record(first.fingerprint) == first
        assert store.record("unknown") is None


def test_record_with_a_latency_below_zero_is_refused(tmp_path: Path) -> None:
    record = example_record(key("a"))
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.write(record)
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute(
            "UPDATE record SET json = json_set(json, '$.latency.median_ms', -1.0) "
            "WHERE json_extract(json, '$.latency') IS NOT NULL"
        )
        assert database.total_changes == 1
    database.close()
    with (
        Store(tmp_path / FILE_NAME) as store,
        pytest.raises(InputError, match=r"latency\.median_ms"),
    ):
        store.record(record.fingerprint)


def test_samples_are_kept_bit_for_bit_beside_their_record(tmp_path: Path) -> None:
    record = example_record(key("a")).model_copy(update={"session": "s"})
    seconds = np.random.default_rng(0).random(100)
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.write(record, {SECONDS: {record.fingerprint: seconds, "companion": seconds[::-1]}})
        found = store.samples("s")
    assert np.array_equal(found[record.fingerprint], seconds)
    assert np.array_equal(found["companion"], seconds[::-1])


def test_records_out_of_the_plan_are_kept_but_not_listed(tmp_path: Path) -> None:
    record = example_record(key("a"))
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.write(record)
        store.plan([])
        assert store.records() == []
        assert store.statuses() == {record.fingerprint: "ok"}


def test_record_is_read_again_when_an_error_is_infinite(tmp_path: Path) -> None:
    verification = Verification(
        reference="onnxruntime",
        inputs=1,
        real_inputs=True,
        max_abs_error=float("inf"),
        max_error_of_scale=float("inf"),
        tolerance_of_scale=1e-4,
    )
    record = example_record(key("a")).model_copy(update={"verification": verification})
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.write(record)
        assert store.record(record.fingerprint) == record


def test_what_is_not_a_store_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results there"):
        Store(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text("not a database at all, but long enough to look like one\n")
    with pytest.raises(InputError, match="cannot be used as a results file"):
        Store(tmp_path / FILE_NAME)


def test_newer_schema_is_refused_with_advice(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute(f"PRAGMA user_version={STORE_SCHEMA + 1}")
    database.close()
    with pytest.raises(InputError, match=r"newer version.*upgrade"):
        Store(tmp_path / FILE_NAME)


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store._db.execute("PRAGMA max_page_count=20")
        big = example_record(key("a")).model_copy(update={"reason": "x" * 1_000_000})
        with pytest.raises(InputError, match=r"cannot be written.*full"):
            store.write(big)


def test_damage_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    path = example_results(tmp_path) / FILE_NAME
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"results\.sqlite: .*--fresh"), Store(path) as store:
        store.records()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE record SET json = '{'", "the record of cell .* cannot be read"),
        ("UPDATE plan SET key = '{}'", "the record of cell .* cannot be read"),
        ("UPDATE series SET samples = x'010203'", "the samples of session .* are damaged"),
        ("DROP TABLE plan", "no such table"),
    ],
)
def test_damaged_rows_are_one_line(tmp_path: Path, statement: str, said: str) -> None:
    path = example_results(tmp_path) / FILE_NAME
    with sqlite3.connect(path) as database:
        (session,) = database.execute("SELECT session FROM series").fetchone()
        database.execute(statement)
    database.close()
    with pytest.raises(InputError, match=said) as error, Store(path) as store:
        store.planned()
        store.records()
        store.samples(session)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_results_are_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is mounted read-only: SQLite wants to write beside what has a journal."""
    path = example_results(tmp_path) / FILE_NAME
    with Store(path) as store:
        expected = store.records()
    for each in tmp_path.glob(f"{FILE_NAME}-*"):
        each.unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Store(path) as store:
        assert store.records() == expected
        assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_store_of_schema_1_is_read_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    record = example_record(key("a")).model_copy(update={"session": "s"})
    seconds = np.array([1e-3, 2e-3])
    with Store(path, create=True) as store:
        store.plan([(record.fingerprint, record.key)])
        store.write(record, {SECONDS: {record.fingerprint: seconds}})
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE samples (session TEXT, fingerprint TEXT, seconds BLOB);"
            "INSERT INTO samples SELECT session, fingerprint, samples FROM series;"
            "DROP TABLE series; PRAGMA user_version=1;"
        )
    for create in (False, True, False):
        with Store(path, create=create) as store:
            assert np.array_equal(store.samples("s")[record.fingerprint], seconds)
            assert store.samples("s", "joules") == {}
            assert store.records() == [record]
