"""Folders show the architecture: rooms import downwards, open sets are not closed by hand."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from places import PROJECT

from harness.compiler.code_kinds import CODE_KINDS
from harness.specs.sweep import Kind
from harness.specs.target import DeviceKind

PACKAGE = PROJECT / "harness"
ROOMS_OF_KINDS = ("compiler", "executors", "records", "specs")
"""Where kinds are told apart: of code, of devices and of records."""
KINDS = {*get_args(DeviceKind), *get_args(Kind), *CODE_KINDS}


def test_at_most_four_files_are_beside_the_rooms() -> None:
    assert len([*PACKAGE.glob("*.py")]) <= 4


def test_rooms_have_no_circles_and_import_downwards() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The lines on which something is compared with the name of a kind. TVM's runtime modules have
    kinds of their own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and "module.kind" not in ast.unparse(node):
            sides = [node.left, *node.comparators]
            sides += [each for side in sides if isinstance(side, ast.Tuple) for each in side.elts]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            if isinstance(side, ast.Constant) and side.value in KINDS:
                yield node.lineno, str(side.value)


def test_kinds_are_told_apart_in_their_rooms_only() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {kind}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ROOMS_OF_KINDS
        for line, kind in compared(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found
