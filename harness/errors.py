"""The errors a user can cause: what was found, what was expected and what to do, in a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every error this package raises on purpose; its text is shown without a traceback."""


class InputError(HarnessError):
    """Something the user wrote or passed is wrong; the command ends with exit code 2."""


class CellFailure(HarnessError):
    """One cell cannot be finished; the sweep records the reason and goes on with the others."""


class NoKernel(CellFailure):
    """A cell whose network has operators for which TVM has no kernels."""


class CellSkipped(HarnessError):
    """One cell does not apply here, as where an optional package is missing; not a failure."""


def reason(error: Exception) -> str:
    """The last line of an error, where TVM says what is wrong."""
    words = str(error).strip().splitlines()
    return words[-1][:300] if words else repr(error)


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest known one, then all of them.

    >>> did_you_mean("x86-hots", ["x86-host", "haswell"])
    "; did you mean 'x86-host'? known: haswell, x86-host"
    """
    names = sorted(known)
    close = difflib.get_close_matches(found, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return f"{hint} known: {', '.join(names) or 'none'}"


def unknown_name(kind: str, found: str, known: Iterable[str]) -> InputError:
    """An InputError for a name that is not known, with the nearest one that is."""
    return InputError(f"no {kind} '{found}'{did_you_mean(found, known)}")
