"""A target's tuning database survives damage, of which a line that is cut off is the usual one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.compiler.api import ArgInfo, Schedule, meta_schedule, record_json, tvm
from harness.tuning.database import (
    CHOSEN,
    KERNELS,
    LEDGER,
    RECORDS,
    WORKLOADS,
    Choice,
    Spent,
    TuningDatabase,
    database_of,
    kernel_identity,
)

TARGET = {"kind": "llvm", "num-cores": 2}


def kernel(extent: int) -> tvm.IRModule:
    from tvm import te

    source = te.placeholder((extent,), name="source")
    doubled = te.compute((extent,), lambda at: source[at] * 2.0, name="doubled")
    return tvm.IRModule({"main": te.create_prim_func([source, doubled])})


def add_record(database: TuningDatabase, module: tvm.IRModule, seconds: float) -> list[object]:
    records = database.records(module)
    schedule = Schedule(module)
    schedule.parallel(schedule.get_loops(schedule.get_sblock("doubled"))[0])
    record = meta_schedule.database.TuningRecord(
        schedule.trace,
        records.commit_workload(module),
        [seconds],
        tvm.target.Target(TARGET),
        ArgInfo.from_prim_func(module["main"]),
    )
    records.commit_tuning_record(record)
    return record_json(record)


def test_records_and_ledger_are_there_again(tmp_path: Path) -> None:
    with TuningDatabase(tmp_path) as database:
        add_record(database, kernel(8), 1e-3)
        database.note("k", Spent(trials=3, failed_trials=1, seconds=2.5), "one")
        database.note("k", Spent(trials=2, failed_trials=0, seconds=1.0), "two")
    with TuningDatabase(tmp_path) as database:
        assert len(database.records(kernel(8))) == 1
        assert len(database.records(kernel(9))) == 0
        assert database.spent()["k"] == Spent(trials=5, failed_trials=1, seconds=3.5)
        assert database.spent("one")["k"] == Spent(trials=3, failed_trials=1, seconds=2.5)
        assert database.spent()["other"] == Spent()


@pytest.mark.parametrize("name", [RECORDS, WORKLOADS, LEDGER])
def test_half_a_line_is_dropped_and_the_rest_kept(tmp_path: Path, name: str) -> None:
    with TuningDatabase(tmp_path) as database:
        for seconds in (1e-3, 2e-3):
            add_record(database, kernel(9), seconds)
            database.note(str(seconds), Spent(trials=1), "net")
    ledger = tmp_path / LEDGER
    path = ledger if name == LEDGER else tmp_path / KERNELS / kernel_identity(kernel(9)) / name
    path.write_bytes(path.read_bytes()[:-5])
    with TuningDatabase(tmp_path) as database:
        expected = {RECORDS: 1, WORKLOADS: 2, LEDGER: 2}[name]
        assert len(database.records(kernel(9))) == expected
        assert database.spent()["0.002"].trials == (0 if name == LEDGER else 1)
        add_record(database, kernel(9), 3e-3)
    with TuningDatabase(tmp_path) as database:
        assert len(database.records(kernel(9))) == expected + 1


def damaged(line: bytes, seed: int) -> bytes:
    """A line with some of its bytes replaced, or one that was never a record."""
    random = np.random.default_rng(seed)
    whole = [b"", b"  ", b"null", b"[0]", b"[0, [1, 2]]", b"\xff\xfe", b"[" * 5000, b"NaN"]
    if seed < len(whole):
        return whole[seed]
    content = bytearray(line)
    for at in random.integers(0, len(line), 3):
        content[at] = random.integers(11, 127)
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", [RECORDS, WORKLOADS, LEDGER, CHOSEN])
def test_damaged_record_costs_itself_alone(tmp_path: Path, name: str) -> None:
    module = kernel(9)
    identity = kernel_identity(module)
    for seed in range(20):
        folder = tmp_path / str(seed)
        with TuningDatabase(folder) as database:
            for seconds in (1e-3, 2e-3, 3e-3):
                record = add_record(database, module, seconds)
                database.note(str(seconds), Spent(trials=1), "net")
                choice: Choice = {"record": record, "seconds": [seconds]}
                database.choose({str(seconds): choice, identity: choice})
        below = folder / KERNELS / identity if name in (RECORDS, WORKLOADS) else folder
        lines = (below / name).read_bytes().split(b"\n")
        at = 0 if name == WORKLOADS else 1
        lines[at] = damaged(lines[at], seed)
        (below / name).write_bytes(b"\n".join(lines))
        with TuningDatabase(folder) as database:
            known = len(database.records(module))
            assert known >= 2 if name == RECORDS else known == 3
            assert len(database.spent()) >= 2
            chosen = database.chosen()
            assert {"0.002", "0.003", identity} <= chosen.keys() or name == CHOSEN
            assert len(chosen) >= 3
            applied = database_of([module], chosen)
            assert applied.query_schedule(module, tvm.target.Target(TARGET), "main") is not None


def test_schedule_that_does_not_fit_its_kernel_is_left_out(tmp_path: Path) -> None:
    module = kernel(64)
    with TuningDatabase(tmp_path) as database:
        record = json.loads(json.dumps(add_record(database, module, 1e-3)))
    record[0][0][0][2][0] = "elsewhere"
    chosen: dict[str, Choice] = {kernel_identity(module): {"record": record, "seconds": [1e-3]}}
    applied = database_of([module], chosen)
    assert applied.query_schedule(module, tvm.target.Target(TARGET), "main") is None


def test_chosen_schedule_is_what_the_compiler_applies(tmp_path: Path) -> None:
    module = kernel(64)
    with TuningDatabase(tmp_path) as database:
        record = add_record(database, module, 1e-3)
        database.choose({kernel_identity(module): {"record": record, "seconds": [1e-3]}})
        database.choose({"other": {"record": None, "seconds": [1.0]}})
    with TuningDatabase(tmp_path) as database:
        chosen = json.loads(json.dumps(database.chosen()))
    assert set(chosen) == {kernel_identity(module), "other"}
    applied = database_of([module, kernel(9)], chosen)
    found = applied.query_schedule(module, tvm.target.Target(TARGET), "main")
    assert found is not None and "T.parallel" in found.mod.script()
    assert applied.query_schedule(kernel(9), tvm.target.Target(TARGET), "main") is None


def test_identity_is_the_same_for_equal_kernels_only() -> None:
    assert kernel_identity(kernel(8)) == kernel_identity(kernel(8)) != kernel_identity(kernel(9))
