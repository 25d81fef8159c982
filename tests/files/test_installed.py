"""Versions of distributions."""

from __future__ import annotations

import numpy as np

from harness.files.installed import installed_version


def test_version_is_that_of_the_package_or_none() -> None:
    assert installed_version("numpy") == np.__version__
    assert installed_version("no-such-distribution-here") is None
