"""Importing a model file: what is told apart before any frontend is asked."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import small_models

from harness.errors import InputError
from harness.models.formats import format_of
from harness.models.frontends import import_model


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(InputError) as error:
        import_model(path, {}, tmp_path / "work")
    text = str(error.value)
    assert "\n" not in text
    assert path.name in text
    return text


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.onnx", b"", "empty file"),
        ("a.onnx", b"<!DOCTYPE html><html>404</html>", "HTML"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.onnx", b"\x7fELF\x02\x01", "compiled program"),
        ("a.onnx", pickle.dumps({"weights": [1.0]}), "torch.export.save"),
        ("a.pt2", b"\x08\x08\x12\x04", "expected a PyTorch exported program"),
        ("a.pt2", pickle.dumps([1]), "torch.export.save"),
        ("a.tflite", b"PK\x03\x04rest", "a zip archive"),
        ("a.tflite", b"\x00" * 64, "expected a TFLite model"),
        ("a.h5", b"\x89HDF\r\n", "suffix"),
        ("a", b"\x08\x08", "suffix"),
        ("a.pth", b"\x80\x02whatever", "torch.export.save"),
        ("a.pt", b"PK\x03\x04", "torch.export.save"),
    ],
)
def test_import_names_what_was_found_when_the_file_is_something_else(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert found in refused(path, tmp_path)


def test_import_says_no_such_file_when_it_is_missing(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "gone.onnx", tmp_path)


def test_import_says_folder_when_the_path_is_one(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    assert "folder" in refused(tmp_path / "model.onnx", tmp_path)


def test_format_is_told_by_suffix_and_content_when_both_agree(tmp_path: Path) -> None:
    onnx_path = small_models.save(small_models.convolutional(), tmp_path / "A.ONNX")
    assert format_of(onnx_path) == "onnx"
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("x", "y")
    assert format_of(tmp_path / "a.pt2") == "torch"
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3\0\0\0\0")
    assert format_of(tmp_path / "a.tflite") == "tflite"


@pytest.mark.parametrize("module", ["harness.models.frontends", "harness.models.formats"])
def test_import_of_the_module_loads_no_framework_when_nothing_is_imported_yet(module: str) -> None:
    heavy = "tvm", "onnx", "onnxruntime", "torch", "tflite"
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
