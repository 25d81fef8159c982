"""Reads YAML as plain data: bounded in size, depth and repetition, with the line of each value.

The loader is PyYAML's safe one, so a file can never construct an object or run code. Dates are
text: no key of ours is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError
from harness.files.regular import open_regular

Location = tuple[str | int, ...]

_MOST_BYTES = 10**6
_MOST_DEPTH = 64
_MOST_VALUES = 100_000
"""Repetitions by anchors included. Our longest files have a few hundred."""
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path) -> tuple[Any, dict[Location, int]]:
    """The plain data in a YAML file, and the line (from 1) on which each of its values stands.

    Raises InputError when the file is missing, unreadable, not YAML, repeats a key, has an anchor
    inside itself, or is larger than anything that is meant.
    """
    text = _text(path)
    try:
        _require_small(text, path)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, {}
            _require_finite(root, path)
            lines: dict[Location, int] = {}
            _collect_lines(root, (), lines, path)
            return loader.construct_document(root), lines
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise InputError(f"{where}: not valid YAML: {problem}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which says on which line a value is that it cannot make."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if str(node.tag) in _NUMBERS and ":" in node.value:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value}, which YAML reads as a number of base 60; write it as a decimal "
                "number, or in quotes",
                node.start_mark,
            )
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            # Constructors raise it for `!!int x` or a number of too many digits.
            kind = str(node.tag).rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"a value that is no {kind}", node.start_mark
            ) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _text(path: Path) -> str:
    with open_regular(path, "a YAML file") as file:
        try:
            content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES:,} bytes; expected a short YAML file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _require_small(text: str, path: Path) -> None:
    """Composing and constructing recurse and take long over large files; events come one by one."""
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        values += 1
        depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > _MOST_DEPTH or values > _MOST_VALUES:
            raise _too_much(event.start_mark, path)


def _require_finite(root: yaml.Node, path: Path) -> None:
    """An anchor that is used ten times, ten times over, makes gigabytes of a few lines."""
    measured: dict[int, tuple[int, int] | None] = {}

    def measure(node: yaml.Node) -> tuple[int, int]:
        """How many values a node holds, and how deep it is."""
        if not isinstance(node, yaml.CollectionNode):
            return 1, 0
        if id(node) in measured:
            known = measured[id(node)]
            if known is None:
                line = node.start_mark.line + 1
                raise InputError(f"{path}:{line}: an anchor that is used inside itself")
            return known
        measured[id(node)] = None
        pairs = isinstance(node, yaml.MappingNode)
        parts = [part for pair in node.value for part in pair] if pairs else node.value
        inside = [measure(part) for part in parts]
        deepest = max((depth for _, depth in inside), default=0)
        found = 1 + sum(values for values, _ in inside), 1 + deepest
        if found[0] > _MOST_VALUES or found[1] > _MOST_DEPTH:
            raise _too_much(node.start_mark, path)
        measured[id(node)] = found
        return found

    measure(root)


def _too_much(mark: Any, path: Path) -> InputError:
    return InputError(
        f"{path}:{mark.line + 1}: more than {_MOST_VALUES:,} values, repetitions by anchors "
        f"included, or nested more than {_MOST_DEPTH} deep"
    )


def _collect_lines(node: yaml.Node, at: Location, lines: dict[Location, int], path: Path) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise InputError(f"{path}:{key.start_mark.line + 1}: key '{name}' is given twice")
            seen.add(name)
            _collect_lines(value, (*at, name), lines, path)
            lines[(*at, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*at, index), lines, path)
