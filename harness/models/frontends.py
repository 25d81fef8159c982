"""The frontends by format: each brings a model file into Relax."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from harness.models.formats import Format, format_of
from harness.models.imported import Imported

_FRONTENDS: Mapping[Format, tuple[str, str]] = {
    "onnx": ("harness.models.onnx.frontend", "import_onnx"),
    "torch": ("harness.models.torch.frontend", "import_torch"),
    "tflite": ("harness.models.tflite.frontend", "import_tflite"),
}
"""Module and function, which is called as `import_model` is."""


def import_model(path: Path, shapes: Mapping[str, tuple[int, ...]], work: Path) -> Imported:
    """Import a `.onnx`, `.pt2` or `.tflite` file.

    `shapes` gives an input, by name, its static shape; `work` is a folder for intermediate files.
    Nothing in the file is executed. Raises InputError when the file does not match its suffix, a
    dimension is left dynamic, or an operator is not supported.
    """
    module, function = _FRONTENDS[format_of(path)]
    return cast(Imported, getattr(importlib.import_module(module), function)(path, shapes, work))
