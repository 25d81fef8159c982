"""Reads YAML files into frozen models; errors name the line and the nearest key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from harness.errors import InputError, did_you_mean
from harness.files.yaml import Location, read_yaml


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


_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=80)]
"""Names of models, targets and configurations: some folders are named after them."""


def _number(found: Any) -> Any:
    """YAML reads `yes` and `on` as true, which Python takes for 1."""
    if isinstance(found, bool):
        raise ValueError(f"expected a number, found {str(found).lower()}")
    return found


Count = Annotated[int, BeforeValidator(_number), Field(ge=1, lt=2**31)]
"""How many of something: every library that takes such a number takes one of 32 bits."""

MOST_THREADS = 4096
"""No machine has as many cores; a runtime that is asked for a billion threads dies of it."""

Amount = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
"""A finite number: an infinite limit would be none."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (int, float)) else value


def _listed_word(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ONE_OR_SEVERAL = BeforeValidator(_listed)
"""For lists in which one number may stand without brackets."""
ONE_WORD_OR_SEVERAL = BeforeValidator(_listed_word)
"""The same of words."""

Document = TypeVar("Document", bound=BaseModel)

_INSTANCE = re.compile(r" or instance of \w+")
_MOST_PROBLEMS = 10
_MOST_CHARACTERS = 80


def read_document(path: Path, model: type[Document]) -> Document:
    """Read a YAML file as `model`.

    Raises InputError naming file, line, the value found and the nearest known key.
    """
    data, lines = read_yaml(path)
    if not isinstance(data, dict):
        kind = "an empty file" if data is None else type(data).__name__
        raise InputError(f"{path}: expected a mapping of keys to values, found {kind}")
    if empty := next(_without_value(data), None):
        where = f"{path}:{lines[empty]}" if empty in lines else str(path)
        raise InputError(
            f"{where}: {empty[-1]!r} has no value: leave it out, or give it one ('{{}}' stands "
            "for options that are all as by default)"
        )
    return validate(data, model, str(path), lines)


def _without_value(data: Any, at: Location = ()) -> Iterator[Location]:
    """The keys with nothing after them, which would pass for keys that are not there."""
    if isinstance(data, dict):
        for key, value in data.items():
            if value is None:
                yield (*at, key)
            yield from _without_value(value, (*at, key))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from _without_value(value, (*at, place))


def validate(
    data: Any, model: type[Document], source: str, lines: dict[Location, int] | None = None
) -> Document:
    """Validate plain data as `model`; `source` and `lines` say where it was written."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A tuple whose items failed is also reported as too short, which misleads.
        # So does a list that is empty within one of those.
        errors = error.errors()
        details = [found for found in errors if found["type"] != "too_short"] or [
            found
            for found in errors
            if not any(_is_within(other["loc"], found["loc"]) for other in errors)
        ]
        problems = dict.fromkeys(
            _explain(detail, model, data, source, lines or {}) for detail in details
        )
        shown = [*problems][:_MOST_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"{source}: {len(problems) - len(shown)} more problems")
        raise InputError("\n".join(shown)) from None


def _is_within(inner: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(inner) > len(outer) and tuple(inner[: len(outer)]) == tuple(outer)


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
    message = _in_words_of_yaml(detail["msg"].removeprefix("Value error, "))
    if detail.get("ctx", {}).get("pattern") == _NAME:
        message = "expected a name of letters, digits and . _ @ + -, the first a letter or digit"
    found = detail["input"]
    if isinstance(found, (str, int, float, bool)) and detail["type"] != "value_error":
        message += f", found {_shown(found)}"
        expected = detail.get("ctx", {}).get("expected")
        if detail["type"] == "literal_error" and isinstance(found, str) and expected == found:
            message = f"expected the number {expected}, found the text '{found}'"
        elif detail["type"] == "literal_error" and isinstance(found, str) and expected:
            names = [name.strip("' ") for name in expected.replace(" or ", ", ").split(",")]
            message = f"'{found}' is not known{did_you_mean(found, names)}"
    return f"{where}: {dotted}: {message}" if dotted else f"{where}: {message}"


def _in_words_of_yaml(message: str) -> str:
    """A message of pydantic without the names of Python's types."""
    message = _INSTANCE.sub("", message)
    for word, plain in (("tuple", "list"), ("Tuple", "List"), ("dictionary", "mapping of keys")):
        message = message.replace(word, plain)
    return message


def _shown(found: Any) -> str:
    """A value as a message quotes it: Python writes no number of thousands of digits."""
    if isinstance(found, int) and found.bit_length() > 64:
        return f"a number of {found.bit_length()} bits"
    text = repr(found)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


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


def require_once(names: Sequence[str]) -> None:
    """Raises ValueError for a name that is given twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' is given twice; names and values tell results apart")
