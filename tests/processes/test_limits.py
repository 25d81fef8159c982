"""A lost child's reason names the limit of the sweep that it exceeded."""

from __future__ import annotations

from harness.processes.child import ChildLost
from harness.processes.limits import answer_seconds, lost_reason
from harness.specs.sweep import Limits


def test_limit_is_in_seconds() -> None:
    assert answer_seconds(Limits(cell_minutes=1.5)) == 90


def test_reason_names_the_limit_that_was_exceeded() -> None:
    assert "a higher limits.memory_mb" in lost_reason(ChildLost("too large", "memory"))
    assert "a higher limits.cell_minutes" in lost_reason(ChildLost("too long", "time"))
    assert lost_reason(ChildLost("crashed")) == "crashed"
