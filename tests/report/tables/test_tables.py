from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from example_results import example_record, example_results

from harness.records.compiled_code import InstructionCount, MemorySafety, Static
from harness.records.record import CellKey, Tuning, fingerprint
from harness.records.store import FILE_NAME, SECONDS, Store
from harness.report.data import load
from harness.report.tables import (
    Entry,
    Table,
    accuracy_table,
    discarded_table,
    environment_table,
    fusion_table,
    kernel_table,
    result_tables,
    target_tables,
    unfinished_table,
    verification_table,
)

KEY = CellKey(model="m", target="t", configuration="fused", engine="tvm")


def column(table: Table, name: str) -> list[Entry]:
    return [row[table.columns.index(name)] for row in table.rows]


def texts(table: Table, name: str) -> list[str]:
    return [entry.text for entry in column(table, name)]


def store_of(folder: Path, *records: object) -> Path:
    with Store(folder / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)  # type: ignore
        for record in records:
            store.write(record)  # type: ignore[arg-type]
    return folder


def test_result_table_says_how_each_cell_stands_to_the_reference(tmp_path: Path) -> None:
    (table,) = result_tables(load(example_results(tmp_path)))
    assert table.columns[:3] == ("Model", "Configuration", "Status"), "one target needs no column"
    assert texts(table, "Verdict") == [
        *("slower", "slower", "slower", "reference", "faster"),
        *("slower", "–", "faster", "reference", "–"),
    ]
    speeds = column(table, "Speed-up over ONNX Runtime")
    assert speeds[2].sort is not None and 1 / 1.2 < speeds[2].sort < 1 / 1.05
    assert speeds[6].missing and speeds[6].sort is None
    assert {"Latency, ms", "Speed-up over ONNX Runtime", "Accuracy"} <= table.numeric
    assert "Verdict" not in table.numeric


def test_result_table_gives_a_reason_when_a_baseline_lacks_a_figure(tmp_path: Path) -> None:
    (table,) = result_tables(load(example_results(tmp_path)))
    openvino = column(table, "Accuracy")[4]
    assert (openvino.text, openvino.detail) == ("–", "not scored")
    runtime = column(table, "Weights, MB")[3]
    assert (runtime.text, runtime.detail) == ("–", "")


def test_result_table_says_so_when_cells_were_not_measured_together(tmp_path: Path) -> None:
    baseline = KEY.model_copy(update={"configuration": "baseline", "engine": "onnxruntime"})
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(key)), key) for key in (KEY, baseline))
        for session, key in (("one", KEY), ("two", baseline)):
            record = example_record(key, session=session)
            store.write(record, {SECONDS: {record.fingerprint: np.full(20, 1e-3)}})
    (table,) = result_tables(load(tmp_path))
    assert texts(table, "Verdict") == ["not measured together", "reference"]
    assert texts(table, "Speed-up over ONNX Runtime") == ["–", "1"]


def test_result_tables_keep_kinds_apart_and_give_counts_no_latency(tmp_path: Path) -> None:
    counted = example_record(KEY.model_copy(update={"target": "arm"}), kind="emulated-count")
    results = load(store_of(tmp_path, example_record(KEY), counted))
    measured, other = result_tables(results)
    assert (measured.title, other.title) == ("Results", "Results by emulated count")
    assert "Latency, ms" in measured.columns and "Latency, ms" not in other.columns
    assert texts(other, "Target") == ["arm"]
    assert "not a latency" in other.reading


def test_unfinished_table_holds_every_cell_without_a_result(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    with Store(folder / FILE_NAME, create=True) as store:
        planned = [*store.planned().items(), ("pending", KEY)]
        store.plan(planned)
    table = unfinished_table(load(folder))
    assert texts(table, "Status") == ["failed", "skipped", "pending"]
    assert texts(table, "Stage") == ["verify", "–", "–"]
    assert texts(table, "Reason")[0].startswith("output 'logits' differs")
    assert texts(table, "Reason")[2] == "not run yet"


def test_fusion_table_names_stray_kernels(tmp_path: Path) -> None:
    table = fusion_table(load(example_results(tmp_path)))
    assert texts(table, "Kernels before")[:3] == ["23", "23", "23"]
    assert texts(table, "Kernels after")[:3] == ["23", "11", "11"]
    assert column(table, "Stray")[0] == Entry("2", "transpose1, clip2", 2, "bad")


def test_verification_table_tells_right_from_wrong(tmp_path: Path) -> None:
    table = verification_table(load(example_results(tmp_path)))
    assert texts(table, "Outcome") == ["right", "right", "right", "right", "wrong", "right"]
    assert texts(table, "Reference")[0] == "ONNX Runtime"


def test_verification_table_says_that_the_reference_is_off(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    with Store(folder / FILE_NAME) as store:
        found = next(each for each in store.records() if each.verification)
        assert found.verification is not None
        off = {"max_error_of_scale": math.inf, "judge": "float64", "blame": "ONNX Runtime is off"}
        verification = found.verification.model_copy(update=off)
        store.write(found.model_copy(update={"verification": verification}))
    outcomes = column(verification_table(load(folder)), "Outcome")
    assert Entry("right, the reference is off", "ONNX Runtime is off", tone="good") in outcomes


def test_kernel_table_is_of_the_fastest_configuration(tmp_path: Path) -> None:
    table = kernel_table(load(example_results(tmp_path)))
    assert set(texts(table, "Configuration")) == {"tuned"}
    shares = [entry.sort or 0 for entry in column(table, "Share")[:7]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == 1


def test_accuracy_table_has_every_good_cell(tmp_path: Path) -> None:
    table = accuracy_table(load(example_results(tmp_path)))
    assert len(table.rows) == 8
    assert texts(table, "Accuracy")[0] == "0.9215"
    assert texts(table, "Samples")[0] == "2,000"


def test_environment_table_says_where_cells_differ(tmp_path: Path) -> None:
    facts = {"cpu": "A", "load_average": [0.5, 0.1], "versions": {"onnx": "1"}, "turbo": True}
    other = {**facts, "cpu": "B", "load_average": [1.5, 0.1], "memory_free_mb": 100}
    keys = [KEY.model_copy(update={"configuration": name}) for name in "abc"]
    records = [
        example_record(key, environment=environment, spec={"seed": 7})
        for key, environment in zip(keys, (facts, facts, other), strict=True)
    ]
    table = environment_table(load(store_of(tmp_path, *records)))
    said = {row[0].text: row[1].text for row in table.rows}
    assert table.columns == ("What", "t")
    assert said["cpu"] == "A (2); B (1)"
    assert said["load average"] == "0.500 to 1.50, 0.100"
    assert said["versions.onnx"] == "1"
    assert said["turbo"] == "yes"
    assert said["seed"] == "7"
    assert said["finished at"] == "2026-03-01T10:00:00+00:00"


def test_environment_table_has_a_column_for_each_target(tmp_path: Path) -> None:
    keys = [KEY, KEY.model_copy(update={"target": "u"})]
    records = [
        example_record(key, environment={"cpu": key.target, **extra}, spec={})
        for key, extra in zip(keys, ({}, {"board": "pi"}), strict=True)
    ]
    table = environment_table(load(store_of(tmp_path, *records)))
    said = {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}
    assert said["cpu"] == ["t", "u"]
    assert said["board"] == ["–", "pi"]


def test_targets_are_side_by_side_within_a_kind(tmp_path: Path) -> None:
    def record(target: str, kind: str, **figures: object) -> object:
        key = KEY.model_copy(update={"target": target})
        return example_record(key, kind=kind, fingerprint=fingerprint([target]), **figures)

    count = InstructionCount(total=1234, load_store=1, simd=1, branch=1)
    static = Static(launches=(), estimate_ms=0.25)
    folder = store_of(
        tmp_path,
        record("board", "emulated-count", instructions=count),
        record("a", "static", static=static),
        record("b", "static", static=static.model_copy(update={"estimate_ms": None})),
    )
    (table,) = target_tables(load(folder))
    assert table.columns == ("Model", "Configuration", "a", "b")
    assert [entry.text for entry in table.rows[0]] == ["m", "fused", "0.250", "–"]
    assert not target_tables(load(example_results(tmp_path / "one"))), "one target is beside none"


def test_schedules_that_were_thrown_away_are_listed_with_how(tmp_path: Path) -> None:
    tuning = Tuning(
        trials=9, failed_trials=0, seconds=1.0, wrong_kernels=1, unsafe_kernels=2, tasks=3,
        tasks_reused=0, stopped_by="trials",
    )  # fmt: skip
    safety = MemorySafety(kernels=5, rejected={"conv": "accesses memory behind argument 0"})
    folder = store_of(
        tmp_path,
        example_record(KEY, tuning=tuning, memory_safety=safety, fingerprint="a"),
        example_record(
            KEY.model_copy(update={"configuration": "plain"}),
            memory_safety=MemorySafety(kernels=5, rejected={}),
            fingerprint="b",
        ),
    )
    table = discarded_table(load(folder))
    assert texts(table, "Configuration") == ["fused"], "nothing was thrown away of the other"
    assert texts(table, "Outside, in the final comparison") == ["2"]
    (built,) = column(table, "Outside, in the build")
    assert (built.text, built.detail) == ("1", "conv accesses memory behind argument 0")
