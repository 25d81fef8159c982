"""Lets TVM be imported without PyTorch, which its ffi would import wherever it is installed.

That costs seconds at every start and 200 MB of memory in every process, and only exchanging tensors
with PyTorch, which nothing here does, would need it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_torch() -> Iterator[None]:
    """Inside, importing torch fails, unless it is imported already."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
