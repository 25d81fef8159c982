"""A TFLite model in LiteRT's objects, which can be changed and written."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items()}


def operator_name(model: Any, operator: Any) -> str:
    """The name of an operator's code; nothing for one that LiteRT does not define."""
    code = model.operatorCodes[operator.opcodeIndex]
    return _names().get(max(code.builtinCode, code.deprecatedBuiltinCode), "")


def packed(model: Any) -> bytes:
    """The content of a file with a model."""
    import flatbuffers  # type: ignore[import-untyped]

    flat = flatbuffers.Builder(1024)
    flat.Finish(model.Pack(flat), b"TFL3")
    return bytes(flat.Output())
