"""What is said of a running sweep: tuning that does not go by time says so."""

from __future__ import annotations

from dataclasses import asdict
from io import StringIO

import pytest
from example_results import example_record
from rich.console import Console

from harness.cli.sweep_display import SweepDisplay
from harness.records.compiled_code import InstructionCount
from harness.records.record import CellKey, Tuning, TuningCost
from harness.tuning.progress import TuningProgress


def console(*, terminal: bool) -> tuple[Console, StringIO]:
    text = StringIO()
    return Console(file=text, width=200, force_terminal=terminal), text


def progress(by: TuningCost, best: float) -> TuningProgress:
    return TuningProgress(
        kernel="k",
        trials=3,
        failed_trials=0,
        trials_per_second=1.0,
        by=by,
        best=best,
        estimate=2 * best,
        done=3,
        total=8,
        seconds_left=5.0,
    )


@pytest.mark.parametrize(
    ("by", "best", "said"),
    [
        ("seconds", 6e-4, "best 600.0 µs · model ≈ 1.200 ms ·"),
        ("instructions", 1234.0, "best 1,234 instructions · model ≈ 2,468 instructions ·"),
        ("static estimate", 1e-6, "best 1.0 µs (static estimate) ·"),
    ],
)
def test_display_says_what_tuning_goes_by(by: TuningCost, best: float, said: str) -> None:
    found, text = console(terminal=True)
    with SweepDisplay(found) as display:
        display.tuning("m · tuned", asdict(progress(by, best)))
    assert said in text.getvalue()


def test_finished_cell_says_that_it_was_not_tuned_by_time() -> None:
    found, text = console(terminal=False)
    key = CellKey(model="m", target="board", configuration="tuned", engine="tvm")
    record = example_record(
        key,
        kind="emulated-count",
        latency=None,
        instructions=InstructionCount(total=5000, load_store=1, simd=1, branch=1),
        tuning=Tuning(
            by="instructions", trials=60, failed_trials=0, seconds=9, tasks=3, tasks_reused=0,
            stopped_by="trials",
        ),
    )  # fmt: skip
    with SweepDisplay(found) as display:
        display.finished(record)
    assert "5,000 instructions, emulated" in text.getvalue()
    assert "60 trials by instructions, not time, in 9 s" in text.getvalue()


def test_without_a_terminal_what_takes_long_is_heard_of_every_ten_seconds() -> None:
    found, text = console(terminal=False)
    now = 0.0
    with SweepDisplay(found, clock=lambda: now) as display:
        display.working("m · sparse", "fine-tune")
        for epoch in range(1, 9):
            now += 4
            display.progress("m · sparse", "fine-tune", epoch, 10, "epochs")
    assert text.getvalue().strip().splitlines() == [
        "m · sparse: fine-tune",
        "m · sparse: fine-tune: 3/10 epochs · 0:28 left",
        "m · sparse: fine-tune: 6/10 epochs · 0:16 left",
    ]


def test_without_a_terminal_no_line_is_wrapped() -> None:
    text = StringIO()
    with SweepDisplay(Console(file=text, width=80)) as display:
        display.note("a remark of some length. " * 20)
    assert len(text.getvalue().strip().splitlines()) == 1


def test_time_left_is_told_from_what_was_done_since_the_stage_began() -> None:
    found, text = console(terminal=True)
    now = 100.0
    with SweepDisplay(found, clock=lambda: now) as display:
        display.progress("m", "compress", 3, 4)
        display.progress("m", "fine-tune", 10, 20)
        now += 50
        display.progress("m", "fine-tune", 15, 20)
    assert "15/20 · 0:50 left" in text.getvalue()
