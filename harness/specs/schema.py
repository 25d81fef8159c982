"""JSON Schema of the files that people write, and the same as Markdown.

Each key's description is the text below its field in the class.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.specs.documents import ONE_OR_SEVERAL, ONE_WORD_OR_SEVERAL

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(document: type[BaseModel]) -> Schema:
    """The JSON Schema of a document, by which an editor completes and checks it.

    It takes all that the document takes, and some that it refuses: rules between keys are not in
    it.
    """
    schema = document.model_json_schema()
    parts = {document.__name__: schema, **schema.get("$defs", {})}
    for model in _models(document):
        properties = _properties(parts[model.__name__])
        for name, text in descriptions(model).items():
            field = model.model_fields[name]
            key = field.alias or name
            properties[key] = _described(properties[key], field, text)
    return {"$schema": _DIALECT, **schema}


def reference(document: type[BaseModel]) -> str:
    """The keys of a document as Markdown: a table for each mapping in it, the outermost first."""
    return "\n".join(line for model in _models(document) for line in _table(model, document))


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """The text below each field of a class, in one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def _models(document: type[BaseModel]) -> list[type[BaseModel]]:
    """The document and the mappings within it, each once, in the order of their keys."""
    found: dict[type[BaseModel], None] = {document: None}
    for field in document.model_fields.values():
        for model in _within(field.annotation):
            if model not in found:
                found.update(dict.fromkeys(_models(model)))
    return list(found)


def _within(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _within(argument)


def _properties(schema: Schema) -> dict[str, Schema]:
    """The keys of a mapping, which may be one of several forms."""
    forms = (schema, *schema.get("anyOf", ()))
    found: dict[str, Schema] = next(form["properties"] for form in forms if "properties" in form)
    return found


def _described(schema: Schema, field: FieldInfo, text: str) -> Schema:
    several = {ONE_OR_SEVERAL, ONE_WORD_OR_SEVERAL} & {
        mark for mark in field.metadata if mark in (ONE_OR_SEVERAL, ONE_WORD_OR_SEVERAL)
    }
    if several:
        default = {"default": schema.pop("default")} if "default" in schema else {}
        schema = {"anyOf": [schema["items"], schema], **default}
    return {**schema, "description": text}


def _table(model: type[BaseModel], document: type[BaseModel]) -> Iterator[str]:
    yield from ("", f"### {_title(model, document)}", "", " ".join((model.__doc__ or "").split()))
    yield from ("", "| key | value | default | |", "|---|---|---|---|")
    schema = model.model_json_schema()
    parts = schema.get("$defs", {})
    properties = _properties(parts.get(model.__name__, schema))
    for name, field in model.model_fields.items():
        key = field.alias or name
        text = descriptions(model).get(name, "")
        value = _value(properties[key], parts).replace("|", "\\|")
        yield f"| `{key}` | {value} | {_default(field)} | {text} |"


def _title(model: type[BaseModel], document: type[BaseModel]) -> str:
    """The path of keys that leads to a mapping, as `configurations[].edges`."""
    path = _path(document, model)
    return f"`{path}`" if path else "The file"


def _path(at: type[BaseModel], wanted: type[BaseModel]) -> str | None:
    if at is wanted:
        return ""
    for name, field in at.model_fields.items():
        for model in _within(field.annotation):
            below = _path(model, wanted) if model is not at else None
            if below is not None:
                several = "[]" if "tuple" in str(field.annotation) else ""
                return ".".join(filter(None, (f"{field.alias or name}{several}", below)))
    return None


def _value(schema: Schema, parts: Mapping[str, Schema]) -> str:
    """What a key takes, in a few words."""
    if "anyOf" in schema:
        found = dict.fromkeys(_value(each, parts) for each in schema["anyOf"])
        return " or ".join(each for each in found if each != "nothing")
    if "$ref" in schema:
        return "a mapping"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind: str = schema.get("type", "")
    if kind == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"a list: {_value(items, parts)}"
    words = {
        "string": "a path" if schema.get("format") == "path" else "a text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true`, `false`",
        "null": "nothing",
        "object": "a mapping",
    }
    return words.get(kind, kind) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    words = {
        "exclusiveMinimum": "above {:g}",
        "minimum": "at least {:g}",
        "exclusiveMaximum": "below {:g}",
        "maximum": "at most {:g}",
    }
    limits = {name: schema[name] for name in words if name in schema}
    if limits.get("exclusiveMaximum") == 2**31:  # what a library can take, not what it is about
        del limits["exclusiveMaximum"]
    said = [words[name].format(limit) for name, limit in limits.items()]
    return f", {', '.join(said)}" if said else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return "all defaults"
    if default in (None, (), {}, ""):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{', '.join(map(str, default))}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
