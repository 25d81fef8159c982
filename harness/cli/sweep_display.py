"""Shows a running sweep: the present work, its progress, and each cell's result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from harness.records.accuracy import of_few, score
from harness.records.record import Record, TuningCost
from harness.run.sweep import Outcome

if TYPE_CHECKING:
    from harness.report import ReportFiles

_BY: dict[TuningCost, str] = {
    "seconds": "",
    "instructions": " by instructions, not time,",
    "static estimate": " by static estimate, not time,",
}
_SILENCE = 10.0
"""Without a terminal, seconds between lines about long work."""
_MARKS = {"ok": "[green]✓", "failed": "[red]✗", "skipped": "[yellow]–"}


class SweepDisplay:
    """A bar for the sweep and one for the present work; a line for each cell that ends.

    Without a terminal only the lines are printed, and the progress of long work, every ten seconds.
    Lines are not wrapped: a log may be searched.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console()
        self._clock = clock
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._cells: TaskID | None = None
        self._now = self._progress.add_task("planning", total=None, detail="")
        self._said = ""
        self._said_at = clock()
        self._began = ("", 0.0, 0.0)
        """The present work, the time of its first progress, and that progress."""

    def __enter__(self) -> SweepDisplay:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away; the lines stay."""
        self._progress.stop()

    def planned(self, total: int, finished: int) -> None:
        self._cells = self._progress.add_task(
            "cells", total=total, completed=finished, detail=f"{finished} of {total}"
        )
        if finished:
            self._line(f"{finished} of {total} cells are finished already")

    def note(self, text: str) -> None:
        self._line(f"note: {text}")

    def working(self, label: str, stage: str) -> None:
        self._progress.reset(self._now, description=f"{label}: {stage}", total=None, detail="")
        self._say(f"{label}: {stage}")

    def progress(self, label: str, stage: str, done: float, total: float, detail: str = "") -> None:
        what = f"{label}: {stage}"
        if self._began[0] != what:
            self._began = (what, self._clock(), done)
        detail = f"{done:.0f}/{total:.0f} {detail}".rstrip() + self._left(done, total)
        self._progress.update(
            self._now, description=what, completed=done, total=total, detail=detail
        )
        self._say(what, detail)

    def tuning(self, label: str, progress: dict[str, Any]) -> None:
        by, best, estimate = progress["by"], progress["best"], progress["estimate"]
        detail = (
            f"{progress['kernel'][:28]} "
            + (f"best {_cost(best, by)} · " if best else "")
            + (f"model ≈ {_cost(estimate, by)} · " if estimate else "")
            + f"{progress['trials_per_second']:.1f} trials/s · "
            + f"{progress['failed_trials']} failed · {_clock(progress['seconds_left'])} left"
        )
        self._progress.update(
            self._now,
            description=f"{label}: tune",
            completed=progress["done"],
            total=progress["total"],
            detail=detail,
        )
        self._say(f"{label}: tune", detail)

    def finished(self, record: Record) -> None:
        if self._cells is not None:
            self._progress.advance(self._cells)
            done = self._progress.tasks[self._cells]
            self._progress.update(self._cells, detail=f"{done.completed:.0f} of {done.total:.0f}")
        summary = escape(f"{record.key}: {_summary(record)}")  # names in models hold any characters
        self._console.print(f"{_MARKS[record.status]}[/] {summary}", soft_wrap=True)

    def conclude(self, outcome: Outcome, report: ReportFiles) -> None:
        """The last lines: how it ended, what to deploy, and where the report is."""
        from harness.report.answers import in_lines  # matplotlib is not needed before

        ok = sum(record.status == "ok" for record in outcome.records)
        cells = "cell" if ok == 1 else "cells"
        skipped = sum(record.status == "skipped" for record in outcome.records)
        lines = [line for answer in report.answers for line in in_lines(answer)]
        lines += [f"beware: {caution}" for caution in report.cautions]
        lines.append(
            f"{ok} {cells} ok, {len(outcome.failed)} failed, {skipped} skipped; "
            f"report: {report.page}"
        )
        for line in lines:
            self._line(line)

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _left(self, done: float, total: float) -> str:
        """The time for the rest of the present work, at its pace so far."""
        _, since, first = self._began
        if done <= first:
            return ""
        return f" · {_clock((self._clock() - since) * (total - done) / (done - first))} left"

    def _say(self, text: str, detail: str = "") -> None:
        """Without a terminal there are no bars: say each stage once, and how far it is from time to
        time."""
        if self._console.is_terminal:
            return
        now = self._clock()
        if text == self._said and (not detail or now - self._said_at < _SILENCE):
            return
        self._line(text if text != self._said else f"{text}: {detail}")
        self._said, self._said_at = text, now


def _summary(record: Record) -> str:
    if record.status != "ok":
        where = f"{record.stage}: " if record.stage else ""
        return f"{record.status}: {where}{record.reason}"
    text = _figure(record)
    if record.throughput is not None:
        text += f", {record.throughput.per_second:,.0f} inferences a second"
    if record.accuracy is not None:
        text += f", {record.accuracy.metric} {score(record.accuracy.value)}"
        text += of_few(record.accuracy)
    if record.tuning is not None:
        text += f", {record.tuning.trials} trials{_BY[record.tuning.by]} in "
        text += f"{record.tuning.seconds:.0f} s"
        if record.tuning.earlier_trials:
            text += f" and {record.tuning.earlier_trials} in the database"
    return text


def _cost(value: float, by: TuningCost) -> str:
    """The cost that tuning goes by, of a kernel or a network."""
    if by == "instructions":
        return f"{value:,.0f} instructions"
    unit = "" if by == "seconds" else f" ({by})"
    return (f"{1e3 * value:.3f} ms" if value >= 1e-3 else f"{1e6 * value:.1f} µs") + unit


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _figure(record: Record) -> str:
    """The main figure of a cell of its kind."""
    if record.instructions is not None:
        return f"{record.instructions.total:,} instructions, emulated"
    if record.static is not None:
        registers, spilled = record.static.registers_max, record.static.spill_bytes
        text = f"compiled: {registers} registers at most, {spilled:,} bytes spilled"
        if record.static.schedules is not None:
            text += f", {record.static.kernels_verified} kernels verified"
        if record.static.kernels_unverified:
            text += f" and {record.static.kernels_unverified} not"
        estimate = record.static.estimate_ms
        return text if estimate is None else f"{text}, static estimate {estimate:.4g} ms"
    latency = record.latency
    assert latency is not None
    return f"{latency.median_ms:.4g} ms [{latency.ci_low_ms:.4g}, {latency.ci_high_ms:.4g}]"
