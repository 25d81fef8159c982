"""The loops in a text of assembly for 64-bit Arm processors, as LLVM prints it.

Sources ------- [Dragon]  A. Aho, M. Lam, R. Sethi, J. Ullman: Compilers, 2nd edition, 9.6: a block
dominates those that
          cannot be reached around it; an edge back to a block that dominates its source makes a
          natural loop, of all that reaches the edge without passing that block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_TYPE = re.compile(r"^\s*\.type\s+([^\s,]+),\s*@function", re.MULTILINE)
_LABEL = re.compile(r"^(\.?[\w.$]+):")
_SYMBOL = re.compile(r"[\w.$]+")
_CALLS = ("bl", "blr")
_ENDS = ("b", "br", "ret")
"""After these the next instruction is not reached."""
_BRANCHES = ("b", "cbz", "cbnz", "tbz", "tbnz")
"""These and the conditional ones, such as `b.ne`, name a label last."""


@dataclass(frozen=True)
class Loop:
    """A natural loop: the label that it begins with, and its instructions in their order, without
    those of loops inside it and without calls."""

    label: str
    instructions: tuple[str, ...]
    innermost: bool
    calls: int


@dataclass
class _Block:
    """Instructions that run one after another, and the blocks that may follow."""

    label: str
    instructions: list[str] = field(default_factory=list)
    next: list[int] = field(default_factory=list)


def functions(assembly: str) -> dict[str, list[str]]:
    """The labels, each with its colon, and instructions of each function, by its name."""
    names = set(_TYPE.findall(assembly))
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in assembly.splitlines():
        text = line.partition("//")[0].strip()
        if label := _LABEL.match(line):
            if label[1] in names:
                current = found.setdefault(label[1], [])
            else:
                current.append(f"{label[1]}:")
        elif text and not text.startswith("."):
            current.append(" ".join(text.split()))
    return found


def reached(code: Mapping[str, Sequence[str]], start: str) -> list[str]:
    """The functions in `code` that one of them names, or that those name, itself first."""
    found = [start] if start in code else []
    for name in found:
        named = dict.fromkeys(symbol for line in code[name] for symbol in _SYMBOL.findall(line))
        found += [symbol for symbol in named if symbol in code and symbol not in found]
    return found


def loops(lines: Iterable[str]) -> list[Loop]:
    """The natural loops of a function, by where they begin."""
    blocks = _blocks(lines)
    bodies = _bodies(blocks)
    found = []
    for header, body in sorted(bodies.items()):
        inside = [other for at, other in bodies.items() if at != header and at in body]
        own = sorted(body.difference(*inside))
        instructions = [line for at in own for line in blocks[at].instructions]
        kept = [line for line in instructions if operation(line) not in _CALLS]
        calls = len(instructions) - len(kept)
        found.append(Loop(blocks[header].label, tuple(kept), not inside, calls))
    return found


def operation(instruction: str) -> str:
    """The mnemonic of an instruction, such as `fmla`."""
    return instruction.partition(" ")[0]


def _blocks(lines: Iterable[str]) -> list[_Block]:
    """The blocks of a function in their order; a block begins at a label and ends in a branch."""
    blocks = [_Block("")]
    for line in lines:
        if line.endswith(":"):
            blocks.append(_Block(line[:-1]))
            continue
        blocks[-1].instructions.append(line)
        if _target(line) is not None or operation(line) in _ENDS:
            blocks.append(_Block(""))
    labels = {block.label: at for at, block in enumerate(blocks) if block.label}
    for at, block in enumerate(blocks):
        last = block.instructions[-1] if block.instructions else ""
        target = labels.get(_target(last) or "")
        if target is not None:
            block.next.append(target)
        if operation(last) not in _ENDS and at + 1 < len(blocks):
            block.next.append(at + 1)
    return blocks


def _target(instruction: str) -> str | None:
    """The label that an instruction may branch to."""
    name = operation(instruction)
    if name in _BRANCHES or name.startswith("b."):
        return instruction.split()[-1]
    return None


def _bodies(blocks: Sequence[_Block]) -> dict[int, set[int]]:
    """The blocks of each natural loop, by the block that it begins with."""
    before = _before(blocks)
    dominators = _dominators(before)
    bodies: dict[int, set[int]] = {}
    for at, block in enumerate(blocks):
        for header in block.next:
            if header in dominators[at]:
                body = bodies.setdefault(header, {header})
                waiting = [at]
                while waiting:
                    each = waiting.pop()
                    if each not in body:
                        body.add(each)
                        waiting += before[each]
    return bodies


def _before(blocks: Sequence[_Block]) -> list[list[int]]:
    """The blocks that may come just before each."""
    before: list[list[int]] = [[] for _ in blocks]
    for at, block in enumerate(blocks):
        for each in block.next:
            before[each].append(at)
    return before


def _dominators(before: Sequence[Sequence[int]]) -> list[set[int]]:
    """The blocks that each cannot be reached around, itself among them, by those that come before
    it; none for an unreachable one."""
    found: list[set[int] | None] = [None] * len(before)
    found[0] = {0}
    changed = True
    while changed:
        changed = False
        for at in range(1, len(before)):
            known = [found[each] for each in before[at]]
            sets = [each for each in known if each is not None]
            if sets:
                new = set.intersection(*sets) | {at}
                changed |= new != found[at]
                found[at] = new
    return [each or set() for each in found]
