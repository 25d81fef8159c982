"""Only regular files are opened; everything else is one line that names the path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.files.regular import expanded, open_regular


def test_bytes_are_read_when_the_file_is_regular(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"\x00\x01")
    with open_regular(tmp_path / "model") as file:
        assert file.read() == b"\x00\x01"


def test_error_names_the_expected_content_when_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected an ONNX model"):
        open_regular(tmp_path / "missing", "an ONNX model")


def test_error_says_the_kind_when_the_path_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, found a folder"):
        open_regular(tmp_path)


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="found a pipe"):
        open_regular(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["a\0b", "\udc80\ud800", "x" * 300])
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"not a file name|cannot be read|no such file"):
        open_regular(tmp_path / name)


def test_home_is_expanded_and_an_unknown_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/model.onnx") == tmp_path / "model.onnx"
    with pytest.raises(InputError, match="no such user's folder"):
        expanded("~no-such-user-here/model.onnx")
