"""The context of a step of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.specs.sweep import FusionLevel
from harness.specs.target import TargetSpec

if TYPE_CHECKING:
    import numpy as np

    from harness.compiler.api import tvm

Samples = Sequence[Sequence["np.ndarray"]]
"""Inputs of a network, each in the order of its parameters."""


@dataclass(frozen=True)
class Context:
    """The context of a step.

    `spec` describes the target and `target` is TVM's form of it. Meanwhile networks run on `here`
    with `threads` threads. `state`: whether the network keeps state between inferences. `inputs`
    are a few inputs of the model, `calibration` others that no cell is scored on, and `training`
    more of those; each may be empty. `keep_reference` compiles a network plainly, for the cell to
    be verified against the last one that was kept. `folder` gives a folder that is removed
    afterwards, and `kernel_inputs` writes the inputs of a fused network's kernels into one. `tell`
    hears the stages, `progress` the tuner.
    """

    spec: TargetSpec
    target: tvm.target.Target
    here: tvm.target.Target
    threads: int
    seed: int
    state: bool
    fusion: FusionLevel
    inputs: Callable[[], Samples]
    calibration: Callable[[], Samples]
    training: Callable[[], Samples]
    tuning_database: Path
    folder: Callable[[], AbstractContextManager[Path]]
    kernel_inputs: Callable[[tvm.IRModule, Path], dict[str, Path]]
    keep_reference: Callable[[tvm.IRModule], None]
    tell: Callable[[dict[str, Any]], None]
    progress: Callable[[object], None]
