"""Damaged tuning databases."""

from __future__ import annotations

import random
from pathlib import Path

from harness.compiler.api import ArgInfo, Schedule, meta_schedule, record_json, tvm
from harness.tuning.database import (
    CHOSEN,
    EXAMPLES,
    KERNELS,
    LEDGER,
    RECORDS,
    WORKLOADS,
    Spent,
    TuningDatabase,
    database_of,
    kernel_identity,
)
from harness.tuning.search.examples import Examples
from malformed.cases import damaged

_RECORDS = 5
_LINES = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"[0]",
    b"[0,[[],[1.0],{},[]]]",
    b"[" * 50_000,
    b"\xff",
    b"NaN",
    b"{}",
)


def _kernel() -> tvm.IRModule:
    from tvm import te

    source = te.placeholder((24,), name="source")
    doubled = te.compute((24,), lambda at: source[at] * 2.0, name="doubled")
    return tvm.IRModule({"main": te.create_prim_func([source, doubled])})


def damaged_database(random: random.Random, folder: Path) -> None:
    """Damage a line of a file in a database; all that is not in it has to be there again."""
    module = _kernel()
    identity = kernel_identity(module)
    with TuningDatabase(folder) as database:
        for at in range(_RECORDS):
            _add(database, module, at)
        Examples().write(folder / EXAMPLES)
    name = random.choice([RECORDS, RECORDS, WORKLOADS, LEDGER, CHOSEN, EXAMPLES])
    path = (folder / KERNELS / identity if name in (RECORDS, WORKLOADS) else folder) / name
    if name == EXAMPLES:
        path.write_bytes(random.randbytes(300))
    else:
        lines = path.read_bytes().split(b"\n")
        at = random.randrange(len(lines) - 1)
        lines[at] = random.choice(_LINES) if random.random() < 0.3 else damaged(lines[at], random)
        path.write_bytes(b"\n".join(lines))
    with TuningDatabase(folder) as database:
        kept = len(database.records(module)), len(database.spent()), len(database.chosen())
        # Bytes that end lines may be among those that were put in, and make two of one.
        least = [_RECORDS - (name == kind) for kind in (RECORDS, LEDGER, CHOSEN)]
        assert all(map(int.__ge__, kept, least)), f"{name}: {kept} kept"
        database_of([module], database.chosen())
        Examples.read(folder / EXAMPLES)
        _add(database, module, _RECORDS)
        assert len(database.records(module)) == kept[0] + 1


def _add(database: TuningDatabase, module: tvm.IRModule, at: int) -> None:
    records = database.records(module)
    schedule = Schedule(module)
    schedule.split(schedule.get_loops(schedule.get_sblock("doubled"))[0], [None, at + 1])
    record = meta_schedule.database.TuningRecord(
        schedule.trace,
        records.commit_workload(module),
        [1e-3 * (at + 1)],
        tvm.target.Target({"kind": "llvm", "num-cores": 2}),
        ArgInfo.from_prim_func(module["main"]),
    )
    records.commit_tuning_record(record)
    database.note(f"kernel {at}", Spent(trials=1), "net")
    database.choose({f"kernel {at}": {"record": record_json(record), "seconds": [1e-3]}})
