"""Where the commands print tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNWRAPPED = 4000


def output(*, markup: bool = False) -> Console:
    """Standard output. Where it is no terminal and `COLUMNS` is not set, lines are as long as they
    need to be: a file or a pipe may be searched line by line."""
    from rich.console import Console

    found = Console(highlight=False, markup=markup)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _UNWRAPPED
    return found
