"""Cells that crash, hang or eat memory cost themselves; a killed sweep loses nothing finished."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from places import FAULTS
from sweeps import FUSED, PLAIN, write_sweep

from harness.records.record import Record
from harness.records.store import FILE_NAME, Store


def command(path: Path, out: Path) -> list[str]:
    tuning = out.parent / "tuning"
    return [sys.executable, "-m", "harness.cli.main", "run", str(path), "--out", str(out),
            "--tuning-db", str(tuning)]  # fmt: skip


def records(out: Path) -> list[Record]:
    with Store(out / FILE_NAME) as store:
        return store.records()


@pytest.mark.slow
def test_good_cells_finish_when_others_crash_hang_and_eat_memory(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path,
        ["crashing", "hanging", "hungry", "good"],
        configurations=[FUSED],
        limits={"cell_minutes": 0.25, "memory_mb": 2000},
    )
    done = subprocess.run(
        command(path, tmp_path / "out"),
        env={
            **os.environ,
            "PYTHONPATH": str(FAULTS),
            "FAULTS": "crashing=segfault,hanging=hang,hungry=eat-memory",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    found = {record.key.model: record for record in records(tmp_path / "out")
             if record.key.engine == "tvm"}  # fmt: skip
    assert found["good"].status == "ok"
    assert {found[name].status for name in ("crashing", "hanging", "hungry")} == {"failed"}
    assert "SIGSEGV" in str(found["crashing"].reason)
    assert str(found["hanging"].reason) == (
        "the import stage took more than 15 s and was stopped; a higher limits.cell_minutes in the "
        "sweep allows it more"
    )
    assert "more than the 2000 MB it may" in str(found["hungry"].reason)
    assert "a higher limits.memory_mb in the sweep" in str(found["hungry"].reason)
    baselines = [r for r in records(tmp_path / "out") if r.key.engine == "onnxruntime"]
    assert [record.status for record in baselines] == ["ok"] * 4
    assert (tmp_path / "out" / "report" / "index.html").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["full-disk", "full-disk-of-the-linker", "full-disk-of-llvm"])
def test_full_disk_is_no_failure_of_the_cell(fault: str, tmp_path: Path) -> None:
    """The same command goes on once there is space, whatever it was that found none."""
    # The first model's cell is finished; one fault shows that it is kept.
    before = ["first"] if fault == "full-disk" else []
    path = write_sweep(tmp_path, [*before, "net"], configurations=[FUSED], baselines=[])
    faulty = {**os.environ, "PYTHONPATH": str(FAULTS), "FAULTS": f"net={fault}"}
    done = subprocess.run(
        command(path, tmp_path / "out"), env=faulty, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no space is left there, or for temporary files; free some, and run" in done.stderr
    assert "Traceback" not in done.stderr
    assert [record.key.model for record in records(tmp_path / "out")] == before
    if fault != "full-disk":
        return
    again = subprocess.run(command(path, tmp_path / "out"), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert [record.status for record in records(tmp_path / "out")] == ["ok", "ok"]


@pytest.mark.slow
def test_nothing_finished_is_lost_or_run_again_when_killed(tmp_path: Path) -> None:
    tuned = {**FUSED, "name": "tuned", "tune": {"trials": 8}}
    path = write_sweep(tmp_path, ["one", "two"], configurations=[PLAIN, tuned])
    out = tmp_path / "out"
    moments = random.Random(0)
    finished: dict[str, Record] = {}
    for _ in range(4):
        with subprocess.Popen(
            command(path, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(moments.uniform(1, 5))
            below = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert _all_end(below, within=10)
        if (out / FILE_NAME).exists():
            now = {record.fingerprint: record for record in records(out)}
            assert finished.items() <= now.items()
            finished = now
    done = subprocess.run(command(path, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    final = {record.fingerprint: record for record in records(out)}
    assert len(final) == 6 and finished.items() <= final.items()
    with sqlite3.connect(out / FILE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def _all_end(processes: list[psutil.Process], within: float) -> bool:
    """Whether all processes end in so many seconds. A zombie has: not every container reaps those,
    so that `psutil.wait_procs` would wait on."""

    def ended(process: psutil.Process) -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    deadline = time.monotonic() + within
    while not all(map(ended, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
def test_interrupt_keeps_what_was_measured_and_says_how_to_go_on(tmp_path: Path) -> None:
    tuned = {**FUSED, "name": "tuned", "tune": {"minutes": 5}}
    path = write_sweep(tmp_path, ["one"], configurations=[tuned])
    out = tmp_path / "out"
    with subprocess.Popen(
        command(path, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background job ignores Ctrl-C, and so would every process that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        records_file = _wait_for_trials(tmp_path / "tuning", process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    assert records_file.read_bytes().endswith(b"\n")


def _wait_for_trials(tuning: Path, process: subprocess.Popen[str]) -> Path:
    for _ in range(1800):
        records = tuning.glob("*/kernels/*/database_tuning_record.json")
        found = [path for path in records if path.stat().st_size]
        if found:
            return found[0]
        if process.poll() is not None:
            pytest.fail(f"the sweep ended early: {process.stderr and process.stderr.read()}")
        time.sleep(0.1)
    process.kill()  # or whoever started it waits until it has tuned
    pytest.fail("no trial was recorded in three minutes")
