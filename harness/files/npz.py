"""Reads `.npz` files of unknown origin: arrays of numbers, each as large as its file says.

NumPy's own reader believes an array's header, whatever follows it, and allocates that much.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.errors import InputError, printable
from harness.files.regular import open_regular

_ARRAY = b"\x93NUMPY"
_SUFFIX = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Version 3 is for fields with names in other alphabets, which no array of numbers has."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file, by name.

    Raises InputError, which names the file, when it is none, holds Python objects (they are not
    loaded), is damaged, or unpacks to more than this machine's memory.
    """
    with open_regular(path, "an .npz file") as file:
        if file.read(len(_ARRAY)) == _ARRAY:
            raise InputError(f"{path}: one bare array; expected an .npz with named arrays")
        try:
            return _arrays(file, path)
        except InputError:
            raise
        except Exception as error:
            # Whatever zipfile, zlib, lzma and NumPy's parser of headers happen to raise.
            raise InputError(
                f"{path}: cannot be read as .npz: {printable(str(error) or repr(error), 200)}"
            ) from None


def _arrays(file: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = [each for each in archive.infolist() if each.filename.endswith(_SUFFIX)]
        total = sum(each.file_size for each in members)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if total > memory:
            raise InputError(
                f"{path}: unpacks to {total / 1e9:.1f} GB, more than the {memory / 1e9:.1f} GB of "
                "memory here"
            )
        found = {}
        for each in members:
            name = each.filename.removesuffix(_SUFFIX)
            with archive.open(each) as member:
                found[name] = _array(member, each.file_size, f"{path}: array '{name}'")
        return found


def _array(member: Any, size: int, entry: str) -> np.ndarray:
    """One array from its file of `size` bytes."""
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise InputError(f"{entry} is of version {version}, expected 1.0 or 2.0")
    shape, in_columns, dtype = _HEADERS[version](member)
    if dtype.hasobject:
        raise InputError(
            f"{entry} holds Python objects, which are not loaded; expected an .npz with arrays of "
            "numbers (numpy.savez)"
        )
    expected, there = math.prod(shape) * dtype.itemsize, size - member.tell()
    if expected != there or any(extent < 0 for extent in shape):
        raise InputError(
            f"{entry} is {dtype} {list(shape)} by its header, which is {expected} bytes; "
            f"found {there}"
        )
    content = bytearray(expected)
    view, done = memoryview(content), 0
    while done < expected:
        count = member.readinto(view[done:])
        if not count:
            raise InputError(f"{entry} ends after {done} of {expected} bytes")
        done += count
    return np.ndarray(shape, dtype, buffer=content, order="F" if in_columns else "C")
