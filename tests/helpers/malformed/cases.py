"""What a malformed input is, and how it ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_LONGEST_LINE = 1200
_MOST_LINES = 12


@dataclass(frozen=True)
class Case:
    """A command on a malformed input, and the exit codes that it may end with. Where that is 2, a
    line names what `names` says."""

    kind: str
    name: str
    arguments: tuple[str, ...]
    names: str
    codes: frozenset[int] = frozenset({2})


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal, and None where it did not."""

    code: int | None
    errors: str


Maker = Callable[[random.Random, Path], Case]
"""Writes a malformed input below a folder of its own."""


def problems(case: Case, ended: Ended) -> list[str]:
    """What is wrong with the way in which a case ended."""
    found = []
    if ended.code is None:
        return ["it did not end"]
    if ended.code < 0:
        found.append(f"it ended with signal {-ended.code}")
    elif ended.code not in case.codes:
        found.append(f"exit code {ended.code}, expected {sorted(case.codes)}")
    if "Traceback" in ended.errors:
        found.append("a traceback")
    lines = ended.errors.strip().splitlines()
    if ended.code == 2:
        if not lines or len(lines) > _MOST_LINES:
            found.append(f"{len(lines)} lines")
        if case.names not in ended.errors:
            found.append(f"'{case.names}' is not named")
    if any(len(line) > _LONGEST_LINE for line in lines):
        found.append("a line that nobody reads")
    return found


def damaged(content: bytes, random: random.Random) -> bytes:
    """Bytes with some of them replaced, cut off, or put in."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 2, 5, 30])):
        changed[random.randrange(len(changed))] = random.randrange(256)
    cut = random.choice([None, None, None, random.randrange(len(changed))])
    return bytes(changed[:cut])
