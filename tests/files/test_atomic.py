from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.files.atomic import write_atomically


def test_write_leaves_the_new_text_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "text.json"
    write_atomically(path, "old")
    write_atomically(path, "é")
    assert path.read_text(encoding="utf-8") == "é"
    assert list(path.parent.iterdir()) == [path]


def test_write_leaves_nothing_behind_when_the_place_is_taken(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: cannot be written"):
        write_atomically(tmp_path / "folder", "text")
    assert [item.name for item in tmp_path.iterdir()] == ["folder"]


def test_write_says_what_is_wrong_when_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken/results\.csv: cannot be written"):
        write_atomically(tmp_path / "taken" / "results.csv", b"")


def test_others_may_read_what_is_written_as_far_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "results.csv", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "results.csv").stat().st_mode) == 0o644


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), "a")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


@pytest.mark.parametrize("name", [".", "folder"])
def test_a_folder_is_not_written_to(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(InputError, match=f"^{re.escape(name)}: cannot be written: Is a directory"):
        write_atomically(Path(name), "content")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
