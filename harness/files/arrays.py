"""Lists of named arrays in `.npz` files, as the processes of this package exchange them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 by its name then
import numpy as np

_NAMES = "names"


def write_arrays(path: Path, rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> None:
    """Write several lists of named arrays, in order, to one `.npz` file, atomically.

    The names are in an array of their own: in a file's table of contents, where NumPy has them, not
    every name of a model's input has a place. So are the types: NumPy's files do not know those
    that are extensions, as bfloat16.
    """
    names = json.dumps([[(name, str(array.dtype)) for name, array in row] for row in rows]).encode()
    arrays = {_NAMES: np.frombuffer(names, np.uint8)} | {
        _place(at, position): array
        for at, row in enumerate(rows)
        for position, (_, array) in enumerate(row)
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)


def read_arrays(path: Path) -> list[dict[str, np.ndarray]]:
    """The lists that `write_arrays` wrote, each as a dictionary in order."""
    with np.load(path, allow_pickle=False) as file:
        names = json.loads(file[_NAMES].tobytes())
        return [
            {
                name: file[_place(at, position)].view(np.dtype(dtype))
                for position, (name, dtype) in enumerate(row)
            }
            for at, row in enumerate(names)
        ]


def _place(at: int, position: int) -> str:
    return f"{at}/{position}"
