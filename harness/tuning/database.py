"""The tuning records of one target, kept for every model and every sweep.

One folder per target fingerprint, because TVM's database ignores the target. In it:
- `kernels/*/database_*.json`: every measured candidate of a kernel, in MetaSchedule's own format.
  A folder each, because MetaSchedule keeps opened records in memory;
- `ledger.jsonl`: trials and seconds spent on each kernel, failed trials included, and for which
  network;
- `examples.npz`: the cost model's training data (see `examples.py`);
- `chosen.json`: for each kernel the schedule to use, chosen by measuring the best again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from pydantic import ValidationError

from harness.compiler.api import meta_schedule, structural_hash, tvm
from harness.errors import InputError
from harness.files.atomic import write_atomically
from harness.specs.documents import Amount, Frozen
from harness.tuning.sound_records import (
    applied,
    is_record,
    keep_lines,
    keep_sound,
    parsed,
    sound_json,
)

KERNELS = "kernels"
WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
LEDGER = "ledger.jsonl"
EXAMPLES = "examples.npz"
CHOSEN = "chosen.json"


@dataclass
class Spent:
    """The cost of one kernel so far."""

    trials: int = 0
    failed_trials: int = 0
    seconds: float = 0.0


class Choice(TypedDict):
    """The schedule chosen for a kernel: MetaSchedule's record as it writes it, or None for the
    default schedule; and the seconds per run that it was chosen for, interleaved with others."""

    record: list[Any] | None
    seconds: list[float]


class _Entry(Frozen):
    """A line of the ledger."""

    kernel: str
    network: str | None = None
    trials: int
    failed_trials: int
    seconds: Amount


class TuningDatabase:
    """The folder of one target, held by this process alone. Use as a context manager.

    Damaged records, as of a killed process, are dropped; the others stay. Raises
    InputError when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: set[Path] = set()
        """Folders of kernels whose files hold sound records only."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise InputError(
                f"{folder}: the tuning database cannot be written: {error.strerror}; "
                "name another folder with --tuning-db or LAYEREDGE_CACHE"
            ) from None
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for unfinished in folder.glob(".*.*"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)
        keep_lines(folder / LEDGER, lambda line: _entry(line) is not None)

    def __enter__(self) -> TuningDatabase:
        return self

    def __exit__(self, *raised: object) -> None:
        self._lock.close()

    def records(self, kernel: tvm.IRModule) -> meta_schedule.database.Database:
        """The measurements of one kernel; additions are written at once."""
        folder = self.folder / KERNELS / kernel_identity(kernel)
        folder.mkdir(parents=True, exist_ok=True)
        workloads, records = folder / WORKLOADS, folder / RECORDS
        if folder not in self._checked:  # nobody else writes while this process holds the folder
            self._checked.add(folder)
            keep_sound(workloads, records, kernel)
        return meta_schedule.database.JSONDatabase(str(workloads), str(records))

    def spent(self, network: str | None = None) -> dict[str, Spent]:
        """The cost of each kernel, from the ledger; of one network if it is named."""
        spent: dict[str, Spent] = defaultdict(Spent)
        for line in (self.folder / LEDGER).read_bytes().splitlines():
            entry = _entry(line)
            if entry is None or network not in {None, entry.network}:
                continue
            kernel = spent[entry.kernel]
            kernel.trials += entry.trials
            kernel.failed_trials += entry.failed_trials
            kernel.seconds += entry.seconds
        return spent

    def note(self, kernel: str, cost: Spent, network: str) -> None:
        """Add the cost of a round of trials on a kernel to the ledger, with the network."""
        entry = _Entry(
            kernel=kernel,
            network=network,
            trials=cost.trials,
            failed_trials=cost.failed_trials,
            seconds=round(cost.seconds, 3),
        )
        with (self.folder / LEDGER).open("a") as ledger:
            ledger.write(entry.model_dump_json() + "\n")

    def chosen(self) -> dict[str, Choice]:
        """Kernel to the schedule chosen for it."""
        return chosen_in(self.folder)

    def choose(self, choices: dict[str, Choice]) -> None:
        """Set the schedules of some kernels, all or none of them."""
        every = {**self.chosen(), **choices}.items()
        lines = ",\n".join(f"{json.dumps(kernel)}: {json.dumps(each)}" for kernel, each in every)
        write_atomically(self.folder / CHOSEN, f"{{\n{lines}\n}}\n")


def chosen_in(folder: Path) -> dict[str, Choice]:
    """The choices in a target's folder, for readers: the file is always written whole.
    Choices that are damaged are left out."""
    path = folder / CHOSEN
    content = path.read_bytes() if path.exists() else b"{}"
    found = sound_json(content)
    if not isinstance(found, dict):  # a choice a line: damage costs some of them
        lines = (
            sound_json(b"{" + line.strip().rstrip(b",") + b"}") for line in content.split(b"\n")
        )
        found = {kernel: each for line in lines if line for kernel, each in line.items()}
    return {kernel: choice for kernel, choice in found.items() if _is_choice(choice)}


def _is_choice(found: Any) -> bool:
    if not isinstance(found, dict) or found.keys() != Choice.__annotations__.keys():
        return False
    seconds, record = found["seconds"], found["record"]
    timed = isinstance(seconds, list) and seconds and all(isinstance(s, float) for s in seconds)
    return bool(timed) and (record is None or is_record(record))


def _entry(line: bytes) -> _Entry | None:
    try:
        return _Entry.model_validate(sound_json(line))
    except ValidationError:
        return None


def kernel_identity(module: tvm.IRModule) -> str:
    """The identity of a kernel: the same for structurally equal modules, in every process."""
    return f"{structural_hash(module) & (2**64 - 1):016x}"


def network_identity(kernels: Iterable[str]) -> str:
    """The identity of a network with kernels of these identities."""
    return hashlib.sha256(" ".join(sorted(kernels)).encode()).hexdigest()[:16]


def database_of(modules: Iterable[tvm.IRModule], chosen: dict[str, Choice]) -> Any:
    """A database in memory with the chosen schedules of some kernels, for the compiler to apply."""
    database = meta_schedule.database.MemoryDatabase()
    for module in modules:
        choice = chosen.get(kernel_identity(module))
        if choice is not None and choice["record"] is not None:
            workload = database.commit_workload(module)
            record = parsed(choice["record"], workload)
            if record is not None and applied(record, module) is not None:
                database.commit_tuning_record(record)
    return database
