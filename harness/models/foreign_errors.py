"""What errors of other libraries say, in one line."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first line of an error's text: the rest is for the authors of the library."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
