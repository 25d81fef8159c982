"""What all tests share."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError
from harness.hardware import HOST, load_target
from harness.machine.roofline import known_roofs, measured_roofs


def pytest_sessionstart(session: pytest.Session) -> None:
    """Measure this machine's roofs before anything else runs, where they are not known. Beside the
    tests that would be disturbed and not be kept, and every sweep would do it anew."""
    if not hasattr(session.config, "workerinput"):
        try:
            target = load_target(HOST)
            if known_roofs(target) is None:
                measured_roofs(target)
        except HarnessError:
            return  # it is for the tests to find out
