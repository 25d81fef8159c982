"""The folder for files that can be fetched or computed again."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import InputError

CACHE_VARIABLE = "LAYEREDGE_CACHE"


def cache_folder() -> Path:
    """The folder for models, tuning databases and stamps; created if it is not there.

    The environment variable `LAYEREDGE_CACHE` names it; else it is the user's cache folder as
    the operating system defines it. Raises InputError when nothing can be written there.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("layeredge")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_usable(folder, error.strerror or str(error)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_usable(folder, "not writable")
    return folder


def _not_usable(folder: Path, reason: str) -> InputError:
    return InputError(
        f"cache folder {folder}: {reason}; set {CACHE_VARIABLE} to a folder that can be written"
    )
