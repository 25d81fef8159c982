"""Which format a model file is in, told by its suffix and checked by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.errors import InputError
from harness.files.regular import open_regular

Format = Literal["onnx", "torch", "tflite"]

INPUT_SHAPES = "layeredge.input_shapes"
"""The metadata property of an ONNX model that is not static with the shapes it is fed: JSON, the
shape of each input by its name."""
SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt2": "torch", ".tflite": "tflite"}

_NAMES: dict[Format, str] = {
    "onnx": "an ONNX model",
    "torch": "a PyTorch exported program",
    "tflite": "a TFLite model",
}

_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"})
_PICKLE_ADVICE = (
    "a pickle runs code when it is loaded, so it is not; export the network instead: "
    "torch.export.save(torch.export.export(network.eval(), (example_input,)), 'network.pt2')"
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file it points to (run git lfs pull)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a compiled program or library"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"{", "a JSON file"),
    *((b"\x80" + bytes([protocol]), "a Python pickle") for protocol in range(2, 6)),
)


def format_of(path: Path) -> Format:
    """The format of a model file.

    Raises InputError when there is no such file, the suffix is not a known one, or the file's first
    bytes show that it is something else: an error page, a git-lfs pointer, a pickle, an archive.
    """
    suffix = path.suffix.lower()
    head = _head(path)
    if suffix in _PICKLE_SUFFIXES:
        raise InputError(f"{path}: expected a model, found a pickle ({suffix}): {_PICKLE_ADVICE}")
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: expected a model with a suffix of {', '.join(SUFFIXES)}; "
            f"found {suffix or 'none'}"
        )
    expected = SUFFIXES[suffix]
    found = _content(head)
    advice = f"; {_PICKLE_ADVICE}" if found == "a Python pickle" else ""
    if found != _EXPECTED_CONTENT[expected]:
        raise InputError(
            f"{path}: expected {_NAMES[expected]}, found {found or 'other content'}{advice}"
        )
    return expected


_EXPECTED_CONTENT: dict[Format, str | None] = {
    "onnx": None,  # a protocol buffer has no magic number; parsing it tells the rest
    "torch": "a zip archive",
    "tflite": "a TFLite model",
}


def _head(path: Path) -> bytes:
    with open_regular(path, "a model file") as file:
        head = file.read(512)
    if not head:
        raise InputError(f"{path}: expected a model, found an empty file")
    return head


def _content(head: bytes) -> str | None:
    """The kind of a file by its first bytes, or None when they are unknown."""
    if head[4:8] == b"TFL3":
        return "a TFLite model"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "an HTML or XML page (a download that went wrong?)"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)
