"""What the tests of processes share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_templates(no_template: None) -> None:
    """Each test starts the templates that it needs."""
