"""The report of a sweep: one HTML page, a Markdown file with its plots, and the exports."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.files.atomic import write_atomically
from harness.records.export import write_exports
from harness.records.store import FILE_NAME, Store
from harness.report import markdown, page
from harness.report.answers import Answer
from harness.report.content import compose
from harness.report.data import Results, load
from harness.report.together import load_together


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written, what it recommends, and what to beware of."""

    page: Path
    markdown: Path
    plots: tuple[Path, ...]
    exports: tuple[Path, ...]
    answers: tuple[Answer, ...]
    cautions: tuple[str, ...]


def write_report(results_dir: Path) -> ReportFiles:
    """Write a results folder's report into its folder `report`, and the exports beside the results.

    The same results give the same files. Plots of an earlier report that this one does not have are
    removed. Raises InputError when there are no results or the folder cannot be written.
    """
    results = load(results_dir)
    with Store(results_dir / FILE_NAME) as store:
        exports = write_exports(store, results_dir)
    return _write(results, results_dir / "report", exports)


def write_report_of(folders: Sequence[Path], out: Path) -> ReportFiles:
    """Write one report of several results folders into the folder `out`. Raises InputError as
    `write_report` does, and for a folder that is given twice."""
    return _write(load_together(folders), out, ())


def _write(results: Results, folder: Path, exports: tuple[Path, ...]) -> ReportFiles:
    content = compose(results)
    plots = {folder / markdown.PLOTS / picture.file: picture.png for picture in content.pictures}
    for path, png in plots.items():
        write_atomically(path, png)
    for path in (folder / markdown.PLOTS).glob("*.png"):
        if path not in plots:
            with contextlib.suppress(OSError):
                path.unlink()
    files = ReportFiles(
        page=folder / "index.html",
        markdown=folder / "report.md",
        plots=tuple(plots),
        exports=exports,
        answers=tuple(content.answers),
        cautions=tuple(content.cautions),
    )
    write_atomically(files.markdown, markdown.render(content))
    write_atomically(files.page, page.render(content))
    return files
