"""Finds the folders that ship with the package, in an installed wheel and in a checkout alike."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from harness.errors import InputError


def shipped_folder(name: Literal["targets", "examples"]) -> Path:
    """The folder `name` of the wheel's package data, else of the checkout's top level.

    Raises InputError when neither is there, which means a broken installation.
    """
    package = Path(str(files("harness")))
    candidates = (package / "_shipped" / name, package.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputError(
        f"the folder '{name}' is missing from this installation; looked in "
        f"{' and '.join(map(str, candidates))}; install layeredge again"
    )
