"""What a model file says of itself, without importing it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from harness.models.formats import Format, format_of
from harness.specs.documents import Frozen

_READERS: Mapping[Format, str] = {
    "onnx": "harness.models.onnx.description",
    "torch": "harness.models.torch.description",
    "tflite": "harness.models.tflite.description",
}


class Description(Frozen):
    """`version` is that of the format or its operators, `nodes` how many operators a file has with
    those of branches and loops, `quantization` the kind in words, or nothing; `state` names
    variables that are kept between inferences, `trailing` the last extents that the data of inputs
    have to have by the file's weights."""

    version: str
    inputs: Mapping[str, str]
    nodes: int
    quantization: str = ""
    state: tuple[str, ...] = ()
    trailing: Mapping[str, tuple[int, ...]] = {}


def described(path: Path) -> Description:
    """The description of a `.onnx`, `.pt2` or `.tflite` file. Raises InputError for a file that is
    none of these, or damaged."""
    module = importlib.import_module(_READERS[format_of(path)])
    return cast(Description, module.described(path))


def typed(dtype: str, extents: Iterable[int | str]) -> str:
    """A type as messages have it, free dimensions by name: `float32[batch, 3, ?, ?]`."""
    return f"{dtype}[{', '.join(str(extent) or '?' for extent in extents)}]"
