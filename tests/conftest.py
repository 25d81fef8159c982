"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.errors import HarnessError
from harness.hardware import HOST, load_target
from harness.machine.roofline import known_roofs, measured_roofs
from harness.processes import template
from harness.run.cell_process import FORKED, IMPORTED


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


@pytest.fixture(scope="session", autouse=True)
def one_template() -> Iterator[None]:
    """All sweeps and tunings of a test session fork from one process that has imported TVM; by
    themselves each starts its own."""
    with template.template(FORKED, IMPORTED):
        yield


@pytest.fixture
def no_template() -> Iterator[None]:
    """Children are started afresh, or from a template of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template, "_present", None)
        yield
