"""Malformed results of sweeps."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from example_results import example_results

from harness.records.store import FILE_NAME
from malformed.cases import Case, damaged

_STATEMENTS = (
    "UPDATE record SET json = '{'",
    "UPDATE record SET json = x'ff'",
    "UPDATE record SET json = '[1]'",
    "UPDATE record SET json = replace(json, 'median_ms', 'x')",
    "UPDATE record SET json = replace(json, ':0', ':NaN')",
    "UPDATE plan SET key = '{}'",
    "UPDATE plan SET key = 5",
    "UPDATE series SET samples = x'010203'",
    "UPDATE series SET samples = 5",
    "DROP TABLE plan",
    "DROP TABLE record",
    "DROP TABLE series",
    "DELETE FROM record",
    "DELETE FROM plan",
    "PRAGMA user_version = 99",
    "ALTER TABLE record RENAME COLUMN json TO other",
    "CREATE TABLE big (x); DROP TABLE record; CREATE VIEW record AS SELECT 1 AS fingerprint",
)


def results(random: random.Random, folder: Path) -> Case:
    """A results folder with a damaged database, and a command that reads it."""
    path = example_results(folder / "out") / FILE_NAME
    way = random.choice([_statement, _statement, _bytes, _bytes, _journal, _place])
    named = way(path, random)
    out = str(folder / "out")
    command = random.choice(
        [
            ("select", out, "--model", "fashion-resnet8"),
            ("select", out, "--model", "fashion-resnet8", "--json"),
            ("compare", out, out),
            ("report", out),
        ]
    )
    return Case(
        "results", f"{named}: {command[0]}", command, "results.sqlite", frozenset({0, 1, 2})
    )


def _statement(path: Path, random: random.Random) -> str:
    statement = random.choice(_STATEMENTS)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(statement)
        database.commit()
    return statement


def _bytes(path: Path, random: random.Random) -> str:
    path.write_bytes(damaged(path.read_bytes(), random))
    return "damaged bytes"


def _journal(path: Path, random: random.Random) -> str:
    path.with_name(f"{path.name}-wal").write_bytes(random.randbytes(5000))
    return "a journal of noise"


def _place(path: Path, random: random.Random) -> str:
    ways: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("no database, but long enough to look like one\n" * 20),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
        "circle": lambda: path.symlink_to(path),
    }
    path.unlink()
    kind = random.choice(list(ways))
    ways[kind]()
    return kind


def without_folder(random: random.Random, folder: Path) -> Case:
    """A results folder that is none."""
    out = folder / "out"
    out.mkdir()
    kind = random.choice(["file", "gone", "long"])
    shutil.rmtree(out)
    if kind == "file":
        out.write_text("a file")
    name = str(folder / ("x" * 5000)) if kind == "long" else str(out)
    return Case(
        "results", f"folder: {kind}", (random.choice(["select", "report"]), name), name[:80]
    )
