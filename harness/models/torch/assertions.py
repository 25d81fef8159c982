"""Takes assertions on values out of a program.

An export keeps `assert lengths.max() <= 16` as three nodes: the number of a tensor, its comparison,
and the assertion. They decide no output, and a static network has no numbers outside tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ASSERTIONS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "_assert_scalar.default",
        "_assert_async.default",
        "_assert_async.msg",
        "_assert_tensor_metadata.default",
        "sym_constrain_range.default",
        "sym_constrain_range_for_size.default",
    )
)
_NUMBERS = ("sym_int_values", "sym_bool_values", "sym_float_values")


def without_assertions(graph: dict[str, Any]) -> None:
    """Remove, from a graph as `torch.export.save` writes it, the assertions and the numbers that
    they alone read."""
    nodes = [node for node in graph["nodes"] if node["target"] not in _ASSERTIONS]
    while unread := _unread_numbers(nodes, graph["outputs"]):
        nodes = [node for node in nodes if not _made(node) & unread]
        for table in _NUMBERS:
            graph[table] = {
                name: value for name, value in graph.get(table, {}).items() if name not in unread
            }
    graph["nodes"] = nodes


def _unread_numbers(nodes: list[dict[str, Any]], outputs: list[Any]) -> set[str]:
    read = {text for node in nodes for each in node["inputs"] for text in _texts(each["arg"])}
    read |= set(_texts(outputs))
    return {
        name
        for node in nodes
        if node["outputs"] and all(_is_number(each) for each in node["outputs"])
        for name in _made(node)
        if name not in read
    }


def _is_number(output: dict[str, Any]) -> bool:
    return all(kind.startswith("as_sym_") for kind in output)


def _made(node: dict[str, Any]) -> set[str]:
    return set(_texts(node["outputs"]))


def _texts(plain: Any) -> Iterator[str]:
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict):
        for value in plain.values():
            yield from _texts(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _texts(value)
