"""The targets and examples that ship are found."""

from __future__ import annotations

from harness.files.shipped import shipped_folder


def test_folders_hold_the_descriptions_and_sweeps() -> None:
    assert (shipped_folder("targets") / "znver4.yaml").is_file()
    assert (shipped_folder("examples") / "quickstart.yaml").is_file()
