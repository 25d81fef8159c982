"""The engines by name: which there are, which apply to a format, and how one is opened."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.errors import (
    CellFailure,
    CellSkipped,
    HarnessError,
    InputError,
    first_line,
    unknown_name,
)
from harness.models.formats import Format, format_of

if TYPE_CHECKING:
    from harness.baselines.base import Session


@dataclass(frozen=True)
class Engine:
    """One engine: its name in a sentence, the module and class of its sessions, the formats it
    runs, the package it needs, and the extra of this project that installs that. It is the
    reference for `reference_for`: outputs and latencies of models in
    these formats are compared with its own."""

    title: str
    module: str
    session: str
    formats: frozenset[Format]
    package: str
    extra: str | None = None
    reference_for: frozenset[Format] = frozenset()

    @property
    def install(self) -> str:
        """The command that installs the engine's package."""
        return f"pip install '{f'layeredge[{self.extra}]' if self.extra else self.package}'"


ENGINES: dict[str, Engine] = {
    "onnxruntime": Engine(
        "ONNX Runtime",
        "harness.baselines.onnxruntime",
        "OnnxRuntimeSession",
        frozenset({"onnx"}),
        "onnxruntime",
        reference_for=frozenset({"onnx"}),
    ),
    "openvino": Engine(
        "OpenVINO",
        "harness.baselines.openvino",
        "OpenVinoSession",
        frozenset({"onnx", "tflite"}),
        "openvino",
        "openvino",
    ),
    "litert": Engine(
        "LiteRT",
        "harness.baselines.litert",
        "LiteRtSession",
        frozenset({"tflite"}),
        "ai_edge_litert",
        "tflite",
        reference_for=frozenset({"tflite"}),
    ),
    "torch": Engine(
        "PyTorch",
        "harness.baselines.torch_eager",
        "TorchEagerSession",
        frozenset({"torch"}),
        "torch",
        "torch",
        reference_for=frozenset({"torch"}),
    ),
}
REFERENCE = "reference"
"""Stands in a sweep for the reference engine of each model's format."""
QUANTIZED = "-int8"
"""Follows an engine's name in a sweep, for the engine on the networks that `quantize` gives."""
EXPORTED: Format = "onnx"
"""The format that compressed networks are written in."""


def engine_named(name: str) -> Engine:
    """The engine of that name. Raises InputError naming the nearest one."""
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return ENGINES[name]


def baseline_named(name: str) -> tuple[str, bool]:
    """The engine of a baseline, and whether it runs the quantized networks rather than the model.
    Raises InputError naming the nearest one."""
    quantized = {f"{each}{QUANTIZED}" for each in ENGINES if applicable(each, EXPORTED)}
    if name in quantized:
        return name.removesuffix(QUANTIZED), True
    if name not in ENGINES:
        raise unknown_name("baseline", name, {REFERENCE, *ENGINES, *quantized})
    return name, False


def applicable(engine: str, format: Format) -> bool:
    """Whether an engine runs models of a format. Raises InputError for an unknown engine."""
    return format in engine_named(engine).formats


def reference_engine(format: Format) -> str:
    """The name of the reference engine of a format."""
    return next(name for name, engine in ENGINES.items() if format in engine.reference_for)


def open_session(engine: str, path: Path, threads: int) -> Session:
    """Load a model into an engine that runs it with `threads` threads.

    Raises InputError for an unknown engine or a file that is no model, CellSkipped when the engine
    is not installed or does not run the format, and CellFailure when it cannot load the model.
    """
    found = engine_named(engine)
    format = format_of(path)
    if format not in found.formats:
        raise CellSkipped(
            f"{engine} does not run {format} models, only {', '.join(sorted(found.formats))}"
        )
    if find_spec(found.package) is None:
        raise CellSkipped(f"{engine} is not installed: {found.install}")
    if threads < 1:
        raise InputError(f"threads: expected at least 1, found {threads}")
    opener = getattr(importlib.import_module(found.module), found.session)
    try:
        return cast("Session", opener(path, threads))
    except HarnessError:
        raise
    except Exception as error:
        # Each engine has exceptions of its own, most of them C++ types without a common base.
        raise CellFailure(f"{engine} cannot load {path}: {first_line(error)}") from error
