"""Copies of model files that nobody replaces while a sweep runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import InputError
from harness.files.regular import open_regular

_CHUNK_BYTES = 1 << 20


def snapshot(path: Path, files: Mapping[str, str], folder: Path) -> Path:
    """Copy a model to `folder`, unless that is there, and return the copy's path.

    `files` are those that it is made of, by their paths below its folder, with the SHA-256 that
    each has to have. `folder` appears whole or not at all. Raises InputError where a file is
    another by now, and where the copy cannot be written.
    """
    copy = folder / path.name
    if folder.exists():
        return copy
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, sha256 in files.items():
            if _copied(path.parent / name, part / name) != sha256:
                raise InputError(
                    f"{path.parent / name}: was changed while the sweep ran; run it again"
                )
        os.replace(part, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return copy


def _copied(source: Path, target: Path) -> str:
    """Copy a file, and return the SHA-256 of the copy."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_regular(source) as original, target.open("wb") as copy:
        while chunk := original.read(_CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()
