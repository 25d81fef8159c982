"""The results of one sweep in one SQLite file: a record a transaction, raw samples beside them.

Write-ahead logging, so that a killed process loses at most the record it had not committed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness.errors import InputError
from harness.records.record import CellKey, Record
from harness.specs.documents import Document

STORE_SCHEMA = 2
SECONDS = "seconds"
"""The quantity of latency samples: seconds per inference."""
INTERVALS = "seconds between inferences"
"""The quantity of throughput: seconds from one inference to the next of all copies together."""
FILE_NAME = "results.sqlite"
SWEEP_COPY = "sweep.yaml"
"""A copy of the sweep beside the results."""

_TABLES = """
CREATE TABLE IF NOT EXISTS record (
    fingerprint TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    json TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS plan (
    position INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS series (
    session TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    quantity TEXT NOT NULL,
    samples BLOB NOT NULL,
    PRIMARY KEY (session, fingerprint, quantity)
);
"""
_SERIES = "SELECT fingerprint, samples FROM series WHERE session=? AND quantity=?"
_SERIES_1 = "SELECT fingerprint, seconds FROM samples WHERE session=? AND ?='seconds'"
"""The same of a store of schema 1, which has one quantity."""
_FROM_1 = """
INSERT INTO series SELECT session, fingerprint, 'seconds', seconds FROM samples;
DROP TABLE samples;
"""

Samples = Mapping[str, np.ndarray | Sequence[float]]
"""Fingerprint to samples of one quantity (float64, shape [rounds]); entry i of each is round i."""

_WAYS_OUT = (
    ("readonly", "check its permissions, or name another folder"),
    ("unable to open", "check its permissions and those of its folder, or name another folder"),
    ("locked", "another process is writing it; wait for that to end"),
    ("full", "free some space; the same command goes on then"),
)
"""Advice by a part of SQLite's error text."""
_LEAST_FREE = 2**16
"""Bytes: with less, SQLite cannot write."""
_OTHERWISE = (
    "it is damaged: take it back from a copy, or start over with `layeredge run SWEEP --out FOLDER "
    "--fresh`"
)


class Store:
    """Records, the plan they belong to, and raw samples of each quantity that was measured.

    Use as a context manager. Every method raises InputError for a file that is not a store, that is
    damaged or that a newer version wrote; a store that is not to be created is only read.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            exported = path.with_name("results.json").is_file()
            raise InputError(
                f"{path}: no results there; expected a folder that `layeredge run` wrote"
                + (", and found results.json, which has no samples" if exported else "")
            )
        self.path = path
        with self._reported("used as a results file"):
            self._db = sqlite3.connect(_address(path, create), timeout=30, uri=True)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            self._series = _SERIES_1 if version == 1 and not create else _SERIES
            if version > STORE_SCHEMA:
                raise InputError(
                    f"{path}: written by a newer version (schema {version}, this one reads up to "
                    f"{STORE_SCHEMA}); upgrade layeredge"
                )
            if create:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                migration = _FROM_1 if version == 1 else ""
                self._db.executescript(
                    f"BEGIN; {_TABLES} {migration} PRAGMA user_version={STORE_SCHEMA}; COMMIT;"
                )
            else:
                self._db.execute("SELECT 1 FROM record LIMIT 1")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _reported(self, done: str) -> Iterator[None]:
        """Turn SQLite's errors into one line with the file and advice."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:  # also for text that is not UTF-8
            said = "full" if self._disk_is_full() else str(error)  # "disk I/O error", sometimes
            advice = next((way for sign, way in _WAYS_OUT if sign in said), _OTHERWISE)
            raise InputError(f"{self.path}: cannot be {done}: {error}; {advice}") from None

    def _disk_is_full(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free < _LEAST_FREE
        except OSError:
            return False

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._reported("read"):
            return self._db.execute(query, values).fetchall()

    def plan(self, cells: Iterable[tuple[str, CellKey]]) -> None:
        """Set the cells that make up the sweep's table, in order: (fingerprint, names)."""
        with self._reported("written"), self._db:
            self._db.execute("DELETE FROM plan")
            self._db.executemany(
                "INSERT INTO plan VALUES (?, ?, ?)",
                [(at, mark, key.model_dump_json()) for at, (mark, key) in enumerate(cells)],
            )

    def planned(self) -> dict[str, CellKey]:
        """Fingerprint to names of the cells in the sweep's table, in order."""
        rows = self._rows("SELECT fingerprint, key FROM plan ORDER BY position")
        return {mark: self._read(CellKey, text, mark) for mark, text in rows}

    def write(self, record: Record, samples: Mapping[str, Samples] | None = None) -> None:
        """Commit one record, replacing one with the same fingerprint.

        `samples` are those of the record's session by quantity, such as `SECONDS`. They are
        committed with the record.
        """
        rows = [
            (record.session, mark, quantity, np.asarray(values, dtype="<f8").tobytes())
            for quantity, series in (samples or {}).items()
            for mark, values in series.items()
        ]
        with self._reported("written"), self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?)",
                (record.fingerprint, record.status, record.model_dump_json()),
            )
            self._db.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)", rows)

    def statuses(self) -> dict[str, str]:
        """Fingerprint to status of every stored record, in the plan or not."""
        return dict(self._rows("SELECT fingerprint, status FROM record"))

    def records(self) -> list[Record]:
        """The finished cells of the plan, in its order."""
        rows = self._rows(
            "SELECT json, fingerprint FROM record JOIN plan USING (fingerprint) ORDER BY position"
        )
        return [self._read(Record, text, mark) for text, mark in rows]

    def others(self) -> int:
        """How many stored records are not of the plan: those of other sweeps, or of models that
        have changed since."""
        ((count,),) = self._rows(
            "SELECT COUNT(*) FROM record WHERE fingerprint NOT IN (SELECT fingerprint FROM plan)"
        )
        return int(count)

    def record(self, mark: str) -> Record | None:
        """The record with this fingerprint, or None."""
        rows = self._rows("SELECT json FROM record WHERE fingerprint=?", mark)
        return self._read(Record, rows[0][0], mark) if rows else None

    def _read(self, model: type[Document], text: Any, mark: str) -> Document:
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{self.path}: the record of cell {mark} cannot be read by this version: {at}: "
                f"{first['msg']}; upgrade layeredge, or run the sweep with --fresh"
            ) from None

    def samples(self, session: str, quantity: str = SECONDS) -> dict[str, np.ndarray]:
        """The samples of one session and quantity; see `Samples`."""
        rows = self._rows(self._series, session, quantity)
        try:
            return {mark: np.frombuffer(data, dtype="<f8") for mark, data in rows}
        except (ValueError, TypeError):
            raise InputError(
                f"{self.path}: the samples of session {session} are damaged; {_OTHERWISE}"
            ) from None


def _address(path: Path, create: bool) -> str:
    """SQLite's address of a store. One that is only read may lie where nothing can be written."""
    address = path.absolute().as_uri()
    if create:
        return address
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{address}?mode=rw"  # the last to read removes its journal
    journal = path.with_name(f"{path.name}-wal")
    settled = not journal.exists() or not journal.stat().st_size
    # SQLite writes beside a file that has a journal even to read it, unless nobody changes it.
    return f"{address}?{'immutable=1' if settled else 'mode=ro'}"
