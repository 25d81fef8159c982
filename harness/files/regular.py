"""Opens files that users name: regular ones only, so that no pipe or device holds a process up."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from harness.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def expanded(path: str | Path) -> Path:
    """A path with its `~` or `~user` replaced. Raises InputError for a user without a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{path}: there is no such user's folder; write the whole path") from None


def open_regular(path: Path, expected: str = "a file") -> BinaryIO:
    """Open `path` to read its bytes. `expected` names the expected content in an error.

    Raises InputError, which names the path, where there is nothing, something that is no regular
    file, or a name that the file system does not take.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits until something writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL or half a surrogate pair, which no file name has
        raise InputError(f"{path}: not a file name; expected {expected}") from None
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise InputError(f"{path}: expected {expected}, found {_KINDS.get(kind, 'something else')}")
    return os.fdopen(descriptor, "rb")
