from __future__ import annotations

import pytest
from rich.table import Table

from harness.cli.terminal import output


@pytest.mark.parametrize(("columns", "wrapped"), [(None, False), ("40", True)])
def test_lines_are_as_long_as_they_need_to_be_when_nobody_looks(
    columns: str | None,
    wrapped: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    table = Table(show_header=False, box=None)
    table.add_row("name", "a long description of it " * 12)
    output().print(table)
    lines = capsys.readouterr().out.strip().splitlines()
    assert (len(lines) > 1) == wrapped
