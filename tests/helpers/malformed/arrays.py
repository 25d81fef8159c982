"""Malformed `.npz` files."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from malformed.cases import damaged

SHAPE = (3, 8, 8)
_SAMPLES = 8


def good(path: Path) -> Path:
    """Eight samples of the small convolutional network, labelled."""
    np.savez(path, inputs=_inputs(), labels=np.arange(_SAMPLES) % 4)
    return path


def write(path: Path, random: random.Random) -> str:
    """Write a malformed file, and say what it is."""
    ways = [_place, _bytes, _header, _header, _header, _archive, _values, _values]
    return random.choice(ways)(path, random)


def _inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((_SAMPLES, *SHAPE)).astype(np.float32)


def _member(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _place(path: Path, random: random.Random) -> str:
    kind = random.choice(["pipe", "folder", "device", "circle", "nothing", "empty"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "circle"):
        path.symlink_to("/dev/zero" if kind == "device" else path)
    elif kind == "empty":
        path.touch()
    return kind


def _bytes(path: Path, random: random.Random) -> str:
    content = good(path).read_bytes()
    cut = random.choice([None, len(content) // 2, len(content) - 1, 30])
    path.write_bytes(damaged(content, random) if cut is None else content[:cut])
    return "damaged bytes" if cut is None else f"{cut} of its bytes"


_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 3, 8, 8)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 8, 8)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 8, 8)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,)}",
    "{'descr': '<f4', 'fortran_order': 7, 'shape': (8, 3, 8, 8)}",
    "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (8,)}",
    "{'descr': '<f4,O,', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': 3, 'fortran_order': False, 'shape': (8,)}",
    "{'descr': '<V0', 'fortran_order': False, 'shape': (8, 3, 8, 8)}",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (8, 3, 8, 8)}",
    "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807)}",
    "[" * 3000 + "]" * 3000,
    "(" * 500,
    "\0" * 40,
    "'" * 9,
    "x" * 60_000,
)


def _header(path: Path, random: random.Random) -> str:
    text = random.choice(_HEADERS)
    header = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    version = random.choice([1, 1, 1, 2, 3, 9])
    length = struct.pack("<H" if version == 1 else "<I", len(header) % 2**16)
    content = b"\x93NUMPY" + bytes([version, 0]) + length + header + _inputs().tobytes()
    _zip(path, {"inputs.npy": content, "labels.npy": _member(np.arange(_SAMPLES))})
    return f"version {version}, {text[:60]}"


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _archive(path: Path, random: random.Random) -> str:
    labels, inputs = _member(np.arange(_SAMPLES)), _member(_inputs())
    kind = random.choice(["bomb", "encrypted", "method", "deflate", "bare", "names", "text"])
    if kind == "bomb":
        zeros = bytes(1 << 24)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("inputs.npy", "w", force_zip64=True) as member:
                member.write(_member(np.zeros(0, np.float32)))
                for _ in range(8):
                    member.write(zeros)
            archive.writestr("labels.npy", labels)
    elif kind in ("encrypted", "method"):
        _zip(path, {"inputs.npy": inputs, "labels.npy": labels})
        at, value = (6, 1) if kind == "encrypted" else (8, 99)
        content = bytearray(path.read_bytes())
        for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            start = content.find(mark)
            content[start + at + shift : start + at + shift + 2] = struct.pack("<H", value)
        path.write_bytes(content)
    elif kind == "deflate":
        _zip(path, {"inputs.npy": inputs, "labels.npy": labels}, zipfile.ZIP_DEFLATED)
        content = bytearray(path.read_bytes())
        content[200:260] = random.randbytes(60)
        path.write_bytes(content)
    elif kind == "bare":
        path.write_bytes(inputs)
    elif kind == "names":
        _zip(path, {"../../inputs.npy": inputs, "labels.txt": labels, "x" * 60_000: b""})
    else:
        _zip(path, {"inputs.npy": b"hello", "labels.npy": labels})
    return kind


def _values(path: Path, random: random.Random) -> str:
    """Sound files whose arrays are not what the model takes."""
    inputs, labels = _inputs(), np.arange(_SAMPLES) % 4
    ways: dict[str, dict[str, Any]] = {
        "float64": {"inputs": inputs.astype(np.float64), "labels": labels},
        "big endian": {"inputs": inputs.astype(">f4"), "labels": labels},
        "another shape": {"inputs": inputs[:, :, :3], "labels": labels},
        "scalar": {"inputs": np.float32(1), "labels": labels},
        "no labels": {"inputs": inputs},
        "no samples": {"inputs": inputs[:0], "labels": labels[:0]},
        "fewer labels": {"inputs": inputs, "labels": labels[:3]},
        "labels of text": {"inputs": inputs, "labels": np.array(["a"] * _SAMPLES)},
        "no inputs": {"images": inputs, "labels": labels},
        "objects": {"inputs": inputs, "labels": np.array([{}] * _SAMPLES, dtype=object)},
        "records": {"inputs": np.zeros(_SAMPLES, [("a", np.float32)]), "labels": labels},
        "one label": {"inputs": inputs, "labels": np.int64(3)},
    }
    kind = random.choice(list(ways))
    np.savez(path, **ways[kind])
    return kind
