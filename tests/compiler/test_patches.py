"""TVM is imported, and changed, behind one door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from places import PROJECT

from harness.compiler import lean_import, patches

PACKAGE = PROJECT / "harness"
DOOR = "compiler"
EXPORTED = Path("deploy/runner.py")
"""Goes with an exported network, which has TVM and no harness."""
CHANGES = re.compile(
    r"\bregister_(?:global_func|intrin_lowering|tir_pipeline)\b|RegisterContextSymbol"
)


def modules() -> Iterator[tuple[Path, str]]:
    """The modules outside the door, and their texts."""
    for path in PACKAGE.rglob("*.py"):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] != DOOR and inside != EXPORTED:
            yield inside, path.read_text(encoding="utf-8")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_no_other_room_imports_tvm() -> None:
    found = [
        f"{path}: {name}"
        for path, text in modules()
        for name in imported(ast.parse(text))
        if name.split(".")[0] in ("tvm", "tvm_ffi")
    ]
    assert not found


def test_no_other_room_changes_tvm() -> None:
    assert not [str(path) for path, text in modules() if CHANGES.search(text)]


def test_every_patch_is_listed_with_a_function_that_makes_it() -> None:
    listed = {patch.made_by.rpartition(".")[2] for patch in patches.PATCHES}
    made = {
        name
        for module in (patches, lean_import)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
        if not name.startswith("_") and not isinstance(value, type)
    }
    assert made == listed
    assert all(patch.effect and patch.reason and patch.until for patch in patches.PATCHES)
