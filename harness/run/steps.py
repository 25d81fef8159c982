"""The steps of a configuration, in the order in which a network goes through them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.specs.documents import Frozen
from harness.specs.steps import StepOptions
from harness.specs.sweep import STEP_MODULES, Configuration

if TYPE_CHECKING:
    from harness.compiler.api import tvm
    from harness.networks.context import Context

Apply = Callable[["tvm.IRModule", "Context", Any], "tuple[tvm.IRModule, Frozen | None]"]
"""Comes to the network after a step, and the record's field of the step's key, if it has one."""


@dataclass(frozen=True)
class Step:
    """One step. `revision` is in the fingerprint of cells, and raised when the step comes to
    another network than before."""

    apply: Apply
    revision: int


def steps_of(configuration: Configuration) -> Iterator[tuple[str, StepOptions, Step]]:
    """The steps that a configuration asks for: the key, its options, and the step."""
    for key, options in configuration.steps.items():
        module = importlib.import_module(STEP_MODULES[key])
        yield key, options, Step(module.apply, module.REVISION)
