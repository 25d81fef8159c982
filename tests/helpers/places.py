"""Folders that tests pass on to other processes."""

from pathlib import Path

HELPERS = Path(__file__).parent
"""Modules that child processes of tests import."""
PROJECT = HELPERS.parents[1]
FAULTS = HELPERS / "faults"
"""On `PYTHONPATH`, makes child processes misbehave."""
