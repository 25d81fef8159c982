"""What errors of other libraries say, in one line."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line of an error's text, with the next where it ends in a colon: the rest is for
    the authors of the library."""
    lines = [stripped for line in str(error).splitlines() if (stripped := line.strip())]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])
