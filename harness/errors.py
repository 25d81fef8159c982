"""Errors that a user can cause. Their text has the value found, the expected one and advice, in a
line."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator

_MOST_COMPARED = 200
_MOST_KNOWN = 40
_SOURCE = re.compile(r"/\S+\.(?:h|cc|cpp):\d+ \S[^)]*\) |^\[ONNXRuntimeError\] : \d+ : \w+ : ")
"""Where C++ code failed, and ONNX Runtime's codes."""
_LINE_CHARACTERS = 300
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = ("No space left on device", "Disk quota exceeded")


class HarnessError(Exception):
    """Base of every error this package raises on purpose; its text is shown without a traceback."""


class InputError(HarnessError):
    """Something the user wrote or passed is wrong; the command ends with exit code 2."""


class UnknownName(InputError):
    """An unknown name. Callers that know its place in a file add it."""


class CellFailure(HarnessError):
    """One cell cannot be finished; the sweep records the reason and goes on with the others."""


class NoKernel(CellFailure):
    """A cell whose network has operators for which TVM has no kernels."""


class CellSkipped(HarnessError):
    """One cell does not apply here, as where an optional package is missing; not a failure."""


_KINDS: dict[str, type[HarnessError]] = {
    kind.__name__: kind for kind in (InputError, CellSkipped, CellFailure)
}


def kind_of(error: HarnessError) -> str:
    """The name of an error's kind in a message of another process; see `of_kind`."""
    known = (name for name, kind in _KINDS.items() if isinstance(error, kind))
    return next(known, CellFailure.__name__)


def of_kind(name: str, text: str) -> HarnessError:
    """The error that another process raised, from its kind and text."""
    return _KINDS[name](text)


def in_words(error: Exception) -> str:
    """Any error in a line: our own as it is, another with its kind."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"it takes more memory than there is ({first_line(error)})"
    return f"{type(error).__name__}: {first_line(error)}"


def is_of_full_disk(error: BaseException) -> bool:
    """Whether an error came of a full disk. Compilers, and libraries that call us back, say so in
    their text alone."""
    return any(
        (isinstance(each, OSError) and each.errno in _FULL) or says_disk_is_full(str(each))
        for each in _causes(error)
    )


def says_disk_is_full(text: str) -> bool:
    """Whether a program's output says so."""
    return any(each in text for each in _FULL_TEXTS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    left: BaseException | None = error
    while left is not None and id(left) not in seen:
        seen.add(id(left))
        yield left
        left = left.__cause__ or left.__context__


def first_line(said: Exception | str) -> str:
    """The first line of another library's error or a program's output, with the next line where it
    ends in a colon, and without places in its source: the rest is for the authors of the
    library."""
    lines = _lines(said)
    return _SOURCE.sub("", " ".join(lines[: 2 if lines[0].endswith(":") else 1]))


def last_line(said: Exception | str) -> str:
    """The last line of another library's error or a program's output, where TVM, Python and most
    programs state the problem; 300 characters at most."""
    return _lines(said)[-1][:_LINE_CHARACTERS]


def complaint(said: Exception | str) -> str:
    """The first line with the word "error", else the first one, as compilers report them; 300
    characters at most."""
    lines = _lines(said)
    return next((line for line in lines if "error" in line.lower()), lines[0])[:_LINE_CHARACTERS]


def _lines(said: Exception | str) -> list[str]:
    """The lines that are not empty; one that says so where there is none."""
    lines = [line for each in str(said).splitlines() if (line := each.strip())]
    return lines or ["it said nothing" if isinstance(said, str) else type(said).__name__]


def printable(text: str, most: int = 1000) -> str:
    """`text` as it may be shown: names in models hold whatever their authors wrote, terminal
    commands and a hundred thousand letters among it.

    >>> printable("input 'a\\x1b[31mb'")
    "input 'a\\\\x1b[31mb'"
    """
    plain = "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text.strip()
    )
    if len(plain) <= most:
        return plain
    half = most // 2
    return f"{plain[:half]} … {plain[-half:]}"


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest known one, then all of them, or the
    first ones of many.

    >>> did_you_mean("x86-hots", ["x86-host", "haswell"])
    "; did you mean 'x86-host'? known: haswell, x86-host"
    """
    names = sorted(known)
    found = found[:_MOST_COMPARED]  # difflib takes seconds over a name of 65,536 letters
    close = difflib.get_close_matches(found, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    others = f" and {len(names) - _MOST_KNOWN} more" if len(names) > _MOST_KNOWN else ""
    return f"{hint} known: {', '.join(names[:_MOST_KNOWN]) or 'none'}{others}"


def unknown_name(kind: str, found: str, known: Iterable[str]) -> UnknownName:
    """An error for a name that is not known, with the nearest one that is."""
    return UnknownName(f"no {kind} '{found}'{did_you_mean(found, known)}")
