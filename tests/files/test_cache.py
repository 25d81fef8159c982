from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.files.cache import cache_folder


def test_cache_folder_is_created_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_cache_folder_is_the_users_when_the_variable_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAYEREDGE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "layeredge"


def test_cache_folder_says_what_to_set_when_it_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="set LAYEREDGE_CACHE to a folder"):
        cache_folder()
