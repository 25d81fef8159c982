"""One report of several results folders."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_results import NETWORKS, example_results

from harness.cli.report import command
from harness.errors import InputError
from harness.records.store import FILE_NAME
from harness.report.answers import answers
from harness.report.data import load
from harness.report.plots import draw_all
from harness.report.together import load_together


def two(folder: Path) -> list[Path]:
    return [example_results(folder / day / "results") for day in ("monday", "friday")]


def test_cells_of_one_model_stand_together_and_apart_by_folder(tmp_path: Path) -> None:
    found = load_together(two(tmp_path))
    first, second = (network.name for network in NETWORKS)
    assert [(group.model, group.target) for group in found.groups] == [
        (model, f"x86-host in {day}/results")
        for model in (first, second)
        for day in ("monday", "friday")
    ]
    alone = load(tmp_path / "monday" / "results")
    assert len(found.cells) == 2 * len(alone.cells) and "Target" not in found.without
    assert found.counts == {status: 2 * count for status, count in alone.counts.items()}
    assert found.name == "results"


def test_commands_name_each_cells_own_folder_and_target(tmp_path: Path) -> None:
    folders = two(tmp_path)
    one, other = ([*answers(load(folder))] for folder in folders)
    expected = [each.command for pair in zip(one, other, strict=True) for each in pair]
    assert [each.command for each in answers(load_together(folders))] == expected
    assert any(expected)


def test_folder_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    folder, _ = two(tmp_path)
    with pytest.raises(InputError, match="given twice"):
        load_together([folder, folder.parent / "." / "results"])


def test_command_writes_one_page_of_all(tmp_path: Path) -> None:
    out = tmp_path / "week"
    done = CliRunner().invoke(command, [*map(str, two(tmp_path)), "--out", str(out)])
    assert done.exit_code == 0, done.output
    page = (out / "index.html").read_text()
    assert "x86-host in monday/results" in page and "x86-host in friday/results" in page
    assert not (out / "results.csv").exists()


def test_runs_of_the_same_cells_have_their_history(tmp_path: Path) -> None:
    monday, friday = two(tmp_path)
    for folder, day in ((friday, "2026-01-01"), (monday, "2026-01-05")):
        with closing(sqlite3.connect(folder / FILE_NAME)) as database, database:
            said = "UPDATE record SET json = json_set(json, '$.finished_at', ?)"
            database.execute(said, (f"{day}T00:00:00+00:00",))
    groups = load_together([monday, friday]).groups
    first = [group for group in groups if group.runs]
    assert [group.target for group in first] == ["x86-host in friday/results"] * len(NETWORKS)
    for group, network in zip(first, NETWORKS, strict=True):
        assert [each.run for each in group.runs] == ["friday/results", "monday/results"]
        assert {each.model for each in group.runs} == {network.name}
        assert group.same_title == f"{network.name} on x86-host"
    drawn = draw_all(load_together([monday, friday]))["history"]
    assert len(drawn) == len(NETWORKS)
    assert not any(picture.target for picture in drawn), "a filter by target leaves them"
    assert "friday/results" in drawn[0].alt and "ONNX Runtime" in drawn[0].alt
    assert draw_all(load(monday))["history"] == ()
