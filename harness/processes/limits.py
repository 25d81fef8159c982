"""Waiting times for child processes by a sweep's `limits`, and the limit to raise where one is too
short."""

from __future__ import annotations

from harness.processes.child import ChildLost, Exceeded
from harness.specs.sweep import Limits

_KEYS: dict[Exceeded, str] = {"time": "cell_minutes", "memory": "memory_mb"}


def answer_seconds(limits: Limits) -> float:
    """How long a child that verifies or measures may take to answer."""
    return 60 * limits.cell_minutes


def lost_reason(error: ChildLost) -> str:
    """Why a child was lost, and which of the sweep's limits would have let it go on."""
    if error.exceeded is None:
        return str(error)
    return f"{error}; a higher limits.{_KEYS[error.exceeded]} in the sweep allows it more"
