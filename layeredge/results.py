"""Results of sweeps as pandas tables and NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.errors import InputError
from harness.files.cache import cache_folder
from harness.records import export
from harness.records.record import Record
from harness.records.store import FILE_NAME, SWEEP_COPY, Store

if TYPE_CHECKING:
    from harness.report import ReportFiles
    from harness.report.answers import Answer


@dataclass(frozen=True)
class Results:
    """A results folder. Raises InputError where it holds none."""

    folder: Path

    def frame(self) -> pd.DataFrame:
        """One row a planned cell, indexed by its fingerprint: model, target, configuration, engine,
        status, the axes `batch`, `threads` and `streams`, and every metric, with its unit in its
        name."""
        with self._store() as store:
            return export.table(store)

    def samples(self, cell: str) -> np.ndarray:
        """The raw latency samples of a cell, a fingerprint of `frame`: milliseconds per inference,
        one a round. Cells of one session share their rounds. Empty where none were taken."""
        record = self.record(cell)
        with self._store() as store:
            found = store.samples(record.session) if record.session else {}
        return 1e3 * np.asarray(found.get(cell, np.empty(0)))

    def record(self, cell: str) -> Record:
        """All that is known of a cell, a fingerprint of `frame`. Raises InputError for one that is
        not there or not finished."""
        with self._store() as store:
            records = {record.fingerprint: record for record in store.records()}
        if cell not in records:
            raise InputError(f"{self.folder}: no finished cell '{cell}'")
        return records[cell]

    def answers(self) -> Sequence[Answer]:
        """For each model on each target what to deploy, and the command that exports it."""
        from harness.report.answers import answers
        from harness.report.data import load

        return answers(load(self.folder))

    def report(self) -> ReportFiles:
        """Write the report into the folder."""
        from harness.report import write_report

        return write_report(self.folder)

    def export(self, cell: str, out: str | Path) -> Path:
        """Write a cell's compiled network to a folder that `layeredge.Model` and its own `run.py`
        call. Raises InputError where it cannot be exported."""
        from harness.deploy.folder import export

        return export(self.folder, self.record(cell), Path(out))

    def _store(self) -> Store:
        return Store(self.folder / FILE_NAME)


def load(folder: str | Path) -> Results:
    """The results in a folder. Raises InputError where it holds none."""
    with Store(Path(folder) / FILE_NAME):
        return Results(Path(folder))


def run(
    sweep: str | Path,
    out: str | Path,
    *,
    tuning_db: str | Path | None = None,
    retry_failed: bool = False,
    measure_again: bool = False,
) -> Results:
    """Run the sweep in a file as `layeredge run` does, and write its results to the folder `out`.

    What the folder holds already is not run again. Progress is shown where standard output is a
    terminal. A failed cell is a row of the results; a sweep that is invalid raises InputError.
    """
    from harness.cli.sweep_display import SweepDisplay
    from harness.compiler.pair import check_tvm_pair
    from harness.files.atomic import write_atomically
    from harness.run.results_folder import held
    from harness.run.sweep import run_sweep
    from harness.specs.sweep import Sweep

    file, folder = Path(sweep), Path(out)
    found = Sweep.read(file)
    check_tvm_pair()
    with held(folder):
        write_atomically(folder / SWEEP_COPY, file.read_text(encoding="utf-8"))
        with SweepDisplay() as display:
            run_sweep(
                found,
                folder,
                Path(tuning_db) if tuning_db else cache_folder() / "tuning",
                display,
                retry_failed=retry_failed,
                measure_again=measure_again,
            )
    return Results(folder)
