"""Reads YAML files into frozen models; what does not fit is named with its line and nearest key.

Plain data only: the loader is PyYAML's safe one, so a file can never construct an object or run
code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from harness.errors import InputError, did_you_mean


class Frozen(BaseModel):
    """Base of every specification and result: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=True,
        ser_json_inf_nan="constants",
        # Most processes use few of them: the others cost them nothing.
        defer_build=True,
    )


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$", max_length=80)]
"""What models, targets and configurations may be called: some folders are named after them."""

Document = TypeVar("Document", bound=BaseModel)
Location = tuple[str | int, ...]


def read_yaml(path: Path) -> tuple[Any, dict[Location, int]]:
    """The plain data in a YAML file, and the line (from 1) on which each of its values stands.

    Raises InputError when the file is missing, unreadable, not YAML, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Location, int] = {}
        if root is not None:
            _collect_lines(root, (), lines, path)
        return yaml.safe_load(text), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(f"{where}: not valid YAML: {problem}") from None


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


def read_document(path: Path, model: type[Document]) -> Document:
    """Read a YAML file as `model`.

    Raises InputError naming file, line, what was found and the nearest known key.
    """
    data, lines = read_yaml(path)
    if not isinstance(data, dict):
        kind = "an empty file" if data is None else type(data).__name__
        raise InputError(f"{path}: expected a mapping of keys to values, found {kind}")
    return validate(data, model, str(path), lines)


def validate(
    data: Any, model: type[Document], source: str, lines: dict[Location, int] | None = None
) -> Document:
    """Validate plain data as `model`; `source` and `lines` say where it was written."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A tuple whose items failed is also reported as too short, which is not what is wrong.
        details = [
            found for found in error.errors() if found["type"] != "too_short"
        ] or error.errors()
        problems = [_explain(detail, model, data, source, lines or {}) for detail in details]
        raise InputError("\n".join(dict.fromkeys(problems))) from None


def _explain(
    detail: Any, model: type[BaseModel], data: Any, source: str, lines: dict[Location, int]
) -> str:
    location = _as_written(tuple(detail["loc"]), data)
    line = next(
        (lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines),
        None,
    )
    where = f"{source}:{line}" if line else source
    dotted = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        key = str(location[-1])
        return f"{where}: unknown key '{key}'{did_you_mean(key, _known_keys(model, location))}"
    if detail["type"] == "missing":
        return f"{where}: '{dotted}' is required"
    message = detail["msg"].removeprefix("Value error, ")
    found = detail["input"]
    if isinstance(found, (str, int, float, bool)) and detail["type"] != "value_error":
        message += f", found {found!r}"
        expected = detail.get("ctx", {}).get("expected")
        if detail["type"] == "literal_error" and isinstance(found, str) and expected:
            names = [name.strip("' ") for name in expected.replace(" or ", ", ").split(",")]
            message = f"'{found}' is not known{did_you_mean(found, names)}"
    return f"{where}: {dotted}: {message}" if dotted else f"{where}: {message}"


def _as_written(location: Location, data: Any) -> Location:
    """A pydantic location without the names of union branches, which the user did not write."""
    written: list[str | int] = []
    here = data
    for index, part in enumerate(location):
        if isinstance(here, list):
            if not isinstance(part, int) or part >= len(here):
                continue
            here = here[part]
        elif isinstance(here, dict) and part in here:
            here = here[part]
        elif not isinstance(here, dict) or index < len(location) - 1:
            continue  # neither something written nor, last, a key that is missing
        written.append(part)
    return tuple(written)


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys that may stand where the last part of a location stands."""
    types: list[Any] = [model]
    for part in location[:-1]:
        if isinstance(part, int):
            types = [argument for item in types for argument in get_args(item)]
        else:
            types = [field.annotation for key, field in _fields(types) if key == part]
    return [key for key, _ in _fields(types)]


def _fields(types: list[Any]) -> list[tuple[str, FieldInfo]]:
    """The fields, by the keys they are written with, of the models among some types."""
    found: list[tuple[str, FieldInfo]] = []
    for item in types:
        if isinstance(item, type) and issubclass(item, BaseModel):
            found += [(field.alias or name, field) for name, field in item.model_fields.items()]
        else:
            found += _fields(list(get_args(item)))
    return found
