from __future__ import annotations

from places import PROJECT


def test_every_script_is_in_the_table() -> None:
    page = (PROJECT / "benchmarks" / "README.md").read_text()
    for script in (PROJECT / "benchmarks").glob("*.py"):
        assert f"`{script.name}" in page, script.name
