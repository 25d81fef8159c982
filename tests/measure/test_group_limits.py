"""How long the processes of a group may take, and what is said of one that takes longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import convolutional, save

from harness.errors import CellFailure
from harness.measure.member import Member, ProcessRunner
from harness.processes.child import ChildLost
from harness.processes.limits import answer_seconds, lost_reason
from harness.specs.sweep import Limits


@pytest.fixture
def member(tmp_path: Path) -> Member:
    path = save(convolutional(), tmp_path / "model.onnx")
    return Member("mark", "label", "onnxruntime", path)


def test_answer_may_take_what_the_sweep_allows() -> None:
    assert answer_seconds(Limits(cell_minutes=90)) == 5400


def test_process_that_takes_longer_is_stopped_and_its_text_names_the_key(
    member: Member,
) -> None:
    # Less than Python takes to start.
    runner = ProcessRunner(member, 1, Limits(cell_minutes=0.0001), {})
    try:
        with pytest.raises(CellFailure) as failure:
            runner.load()
    finally:
        runner.close()
    assert str(failure.value) == (
        "took more than 0.006 s and was stopped; a higher limits.cell_minutes in the sweep allows "
        "it more"
    )


def test_process_that_needs_more_memory_is_stopped_and_its_text_names_the_key() -> None:
    error = ChildLost("used 300 MB of memory, more than the 256 MB it may", "memory")
    assert lost_reason(error).endswith("; a higher limits.memory_mb in the sweep allows it more")


def test_crash_is_no_matter_of_limits() -> None:
    assert lost_reason(ChildLost("crashed with SIGSEGV")) == "crashed with SIGSEGV"
