"""The steps of a configuration, in the order in which a network goes through them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.records.record import Compression
from harness.specs.sweep import Configuration, StepModule

if TYPE_CHECKING:
    from harness.compiler.api import tvm
    from harness.networks.context import Context

Apply = Callable[["tvm.IRModule", "Context", Any], "tuple[tvm.IRModule, Compression]"]


@dataclass(frozen=True)
class Step:
    """One step: `apply` returns the network after it and the entry of the record. `revision` is in
    the fingerprint of cells, and raised when the step comes to another network than before."""

    apply: Apply
    revision: int


def _steps() -> Iterator[tuple[str, Step]]:
    for key, field in Configuration.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, StepModule):
                module = importlib.import_module(mark.name)
                yield key, Step(module.apply, module.REVISION)


STEPS = dict(_steps())
"""By their keys in a configuration."""


def steps_of(configuration: Configuration) -> Iterator[tuple[str, Any, Step]]:
    """The steps that a configuration asks for: the key, its options, and the step."""
    for key, step in STEPS.items():
        spec = getattr(configuration, key)
        if spec is not None:
            yield key, spec, step
