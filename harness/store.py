"""The results of one sweep in one SQLite file: a record a transaction, raw samples beside them.

Write-ahead logging, so that a killed process loses at most the record it had not committed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from harness.errors import InputError
from harness.record import CellKey, Record

STORE_SCHEMA = 1
FILE_NAME = "results.sqlite"

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
CREATE TABLE IF NOT EXISTS samples (
    session TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    seconds BLOB NOT NULL,
    PRIMARY KEY (session, fingerprint)
);
"""


class Store:
    """Records, the plan they belong to, and raw latency samples.

    Use as a context manager. Raises InputError for a file that is not a store, or that a newer
    version wrote.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise InputError(
                f"{path}: no results there; expected a folder that `layeredge run` wrote"
            )
        self.path = path
        try:
            self._db = sqlite3.connect(path, timeout=30)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > STORE_SCHEMA:
                raise InputError(
                    f"{path}: written by a newer version (schema {version}, this one reads up to "
                    f"{STORE_SCHEMA}); upgrade layeredge"
                )
            if create:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                with self._db:
                    self._db.executescript(_TABLES)
                    self._db.execute(f"PRAGMA user_version={STORE_SCHEMA}")
            else:
                self._db.execute("SELECT 1 FROM record LIMIT 1")
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be used as a results file: {error}") from None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def plan(self, cells: Iterable[tuple[str, CellKey]]) -> None:
        """Set the cells that make up the sweep's table, in order: (fingerprint, names)."""
        with self._db:
            self._db.execute("DELETE FROM plan")
            self._db.executemany(
                "INSERT INTO plan VALUES (?, ?, ?)",
                [(at, mark, key.model_dump_json()) for at, (mark, key) in enumerate(cells)],
            )

    def planned(self) -> dict[str, CellKey]:
        """Fingerprint to names of the cells in the sweep's table, in order."""
        rows = self._db.execute("SELECT fingerprint, key FROM plan ORDER BY position")
        return {mark: CellKey.model_validate_json(text) for mark, text in rows}

    def write(self, record: Record, samples: Mapping[str, np.ndarray] | None = None) -> None:
        """Commit one record, replacing one with the same fingerprint.

        `samples` maps fingerprints to seconds per inference (float64, shape [rounds]), all taken in
        turns in the record's session; they are committed with it.
        """
        rows = [
            (record.session, mark, np.asarray(seconds, dtype="<f8").tobytes())
            for mark, seconds in (samples or {}).items()
        ]
        try:
            with self._db:
                self._db.execute(
                    "INSERT OR REPLACE INTO record VALUES (?, ?, ?)",
                    (record.fingerprint, record.status, record.model_dump_json()),
                )
                self._db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise InputError(f"{self.path}: cannot be written: {error}") from None

    def statuses(self) -> dict[str, str]:
        """Fingerprint to status of every stored record, in the plan or not."""
        return dict(self._db.execute("SELECT fingerprint, status FROM record"))

    def records(self) -> list[Record]:
        """The finished cells of the plan, in its order."""
        rows = self._db.execute(
            "SELECT json FROM record JOIN plan USING (fingerprint) ORDER BY position"
        )
        return [self._read(text) for (text,) in rows]

    def record(self, mark: str) -> Record | None:
        """The record with this fingerprint, or None."""
        row = self._db.execute("SELECT json FROM record WHERE fingerprint=?", (mark,)).fetchone()
        return self._read(row[0]) if row else None

    def _read(self, text: str) -> Record:
        try:
            return Record.model_validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{self.path}: a record cannot be read by this version: {error.errors()[0]['msg']}"
            ) from None

    def samples(self, session: str) -> dict[str, np.ndarray]:
        """Fingerprint to seconds per inference of one session; entry i of each is round i."""
        rows = self._db.execute(
            "SELECT fingerprint, seconds FROM samples WHERE session=?", (session,)
        )
        return {mark: np.frombuffer(data, dtype="<f8") for mark, data in rows}
