"""The kernels that a network is compiled to, for the benchmarks of tuning."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.compiler.api import tvm
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.specs.sweep import ModelSpec
from harness.specs.target import Passes
from harness.tuning.candidates.process import KernelTask
from harness.tuning.tasks import tasks_of


def kernels_of(model: str, target: tvm.target.Target) -> list[KernelTask]:
    """The kernels of a model, a catalog name or a file; fetches what is missing."""
    resolved = resolve(ModelSpec.model_validate(model), fetch_missing=True)
    with tempfile.TemporaryDirectory() as folder:
        imported = import_model(resolved.path, resolved.shapes, Path(folder))
        fused = fuse(adapt(canonicalise(imported.module), Passes(), target), "full")
    return tasks_of(fused, target)
