"""Tells sound records of a tuning database from damaged ones, before TVM sees them: an empty line
in one of its files ends the process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.compiler.api import Schedule, meta_schedule, tvm
from harness.files.atomic import write_atomically
from harness.specs.documents import Count

_Instruction = tuple[str, list[Any], list[Any], list[str]]
_Trace = tuple[list[_Instruction], list[tuple[int, Any]]]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Tensor = tuple[Literal["TENSOR"], str, list[Count]]
_Record = tuple[
    _Trace, Annotated[list[_Seconds], Field(min_length=1)], dict[str, Any], list[_Tensor]
]
_RECORD: TypeAdapter[Any] = TypeAdapter(_Record)
"""`[trace, seconds, target, arguments]`, as MetaSchedule writes it."""


def sound_json(line: bytes) -> Any:
    """The value of a line of JSON, or None where it is damaged. TVM's reader knows no NaN."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def is_record(found: Any) -> bool:
    """Whether plain data is a record, as far as that can be told without its kernel."""
    try:
        _RECORD.validate_python(found)
    except ValidationError:
        return False
    return True


def applied(record: meta_schedule.database.TuningRecord, kernel: tvm.IRModule) -> Schedule | None:
    """A kernel in a record's schedule; None where that does not fit it."""
    schedule = Schedule(kernel)
    try:
        record.trace.apply_to_schedule(schedule, remove_postproc=False)
    except Exception:
        # TVM raises several types without a common base where a loop or a block is not there.
        return None
    return schedule


def parsed(found: Any, workload: Any) -> meta_schedule.database.TuningRecord | None:
    """A record from plain data; None where TVM does not read it."""
    if not is_record(found):
        return None
    try:
        return meta_schedule.database.TuningRecord.from_json(found, workload)
    except Exception:
        # As above, for an instruction or a target that it does not know.
        return None


def keep_sound(workloads: Path, records: Path, kernel: tvm.IRModule) -> None:
    """Leave only sound lines in the files of a kernel's folder: the kernel itself, and its
    records."""
    workload = meta_schedule.database.Workload(kernel)
    known = json.dumps([str(part) for part in workload.as_json()], separators=(",", ":"))
    if not workloads.exists() and not records.exists():
        return
    _rewrite(workloads, known.encode() + b"\n")

    def sound(line: bytes) -> bool:
        found = sound_json(line)
        pair = isinstance(found, list) and len(found) == 2 and found[0] == 0
        return pair and parsed(found[1], workload) is not None

    keep_lines(records, sound)


def keep_lines(path: Path, sound: Callable[[bytes], bool]) -> None:
    """Drop the lines of a file that are not sound; one that a killed process left half written has
    no end."""
    content = path.read_bytes() if path.exists() else b""
    lines = content.split(b"\n")[:-1]
    _rewrite(path, b"".join(line + b"\n" for line in lines if sound(line)))


def _rewrite(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
