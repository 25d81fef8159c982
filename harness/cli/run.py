"""`layeredge run`: runs a sweep and writes its report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.metric_help import NamesMetrics
from harness.cli.tracker_option import servers_of, tracker_option

if TYPE_CHECKING:
    from harness.report import ReportFiles


@click.command(name="run", cls=NamesMetrics)
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Results folder."
)
@click.option("--fresh", is_flag=True, help="Delete the records in the folder and start over.")
@click.option("--retry-failed", is_flag=True, help="Run failed cells again.")
@click.option(
    "--measure-again",
    is_flag=True,
    help="Verify and measure finished cells again, as they were built: the machine was busy.",
)
@click.option(
    "--tuning-db",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the tuning databases; by default in the user's cache folder.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Static shape of an input, for every model of the sweep that is a file and has it.",
)
@tracker_option
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tune on N servers of a key at most; on all there are otherwise.",
)
@click.option(
    "--build-cluster",
    metavar="tcp://HOST:PORT",
    envvar="LAYEREDGE_BUILD_CLUSTER",
    show_envvar=True,
    help="Scheduler of a Dask cluster that compiles the candidates for the servers of the tracker.",
)
def command(
    sweep: Path,
    out: Path,
    fresh: bool,
    retry_failed: bool,
    measure_again: bool,
    tuning_db: Path | None,
    shapes: tuple[str, ...],
    tracker: str | None,
    devices: int | None,
    build_cluster: str | None,
) -> int:
    """Run the sweep in the file SWEEP and write results and report to the folder --out.

    SWEEP may also be the name of one of the sweeps that come with the package: quickstart, catalog.

    What the folder already holds is not run again: an interrupted sweep goes on where it was.
    Exit code 0: all cells ok; 1: some failed; 2: the input is wrong.

    \b
    Example:
      layeredge run examples/quickstart.yaml --out results/quickstart
      layeredge run examples/quickstart.yaml --out results/quickstart --measure-again
      layeredge run examples/targets.yaml --out results/boards --tracker 127.0.0.1:9190 --devices 4
    """
    from harness.cli.sweep_display import SweepDisplay
    from harness.compiler.pair import check_tvm_pair
    from harness.errors import InputError, UnknownName
    from harness.files.atomic import write_atomically
    from harness.files.cache import cache_folder
    from harness.records.store import FILE_NAME, SWEEP_COPY
    from harness.run.results_folder import held
    from harness.run.sweep import run_sweep
    from harness.specs.sweep import Sweep, parse_shapes

    file = _found(sweep)
    found = Sweep.read(file).with_shapes(parse_shapes(shapes))
    servers = servers_of(tracker, devices, build_cluster)
    check_tvm_pair()
    with held(out):
        if fresh:
            _forget(out)
        write_atomically(out / SWEEP_COPY, file.read_text(encoding="utf-8"))
        with SweepDisplay() as display:
            try:
                outcome = run_sweep(
                    found,
                    out,
                    tuning_db or cache_folder() / "tuning",
                    display,
                    retry_failed=retry_failed,
                    measure_again=measure_again,
                    servers=servers,
                )
            except UnknownName as error:
                raise InputError(f"{file}: {error}") from None
            except KeyboardInterrupt:
                if (out / FILE_NAME).exists():
                    _report(out)
                raise
            display.working("all cells", "report")
            report = _report(out)
    display.conclude(outcome, report)
    return 1 if outcome.failed else 0


def _forget(out: Path) -> None:
    from harness.records.store import FILE_NAME
    from harness.run.results_folder import ARTIFACTS

    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / ARTIFACTS, ignore_errors=True)


def _found(sweep: Path) -> Path:
    """The file asked for, or the shipped sweep of that name."""
    from harness.files.shipped import shipped_folder

    shipped = shipped_folder("examples") / f"{sweep}.yaml"
    return shipped if not sweep.exists() and len(sweep.parts) == 1 and shipped.exists() else sweep


def _report(out: Path) -> ReportFiles:
    from harness.report import write_report

    return write_report(out)
