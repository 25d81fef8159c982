"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from harness.errors import InputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old content or the new, never a part.

    Creates the folder. Raises InputError when it cannot be written or the disk is full.
    """
    if not path.name:  # of which no other name can be made
        raise InputError(f"{path}: cannot be written: {os.strerror(errno.EISDIR)}")
    # Not `tempfile.mkstemp`: its files can be read by their owner alone.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
