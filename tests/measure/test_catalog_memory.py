"""Every kernel of the catalog's networks, in its default schedule and in one of the tuner's, runs
between guard pages."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from catalog_fetching import fetched_or_skip

from harness.building.network import compile_scheduled
from harness.compiler.api import target_of, tvm
from harness.devices.linker import linker
from harness.hardware import load_target
from harness.kernels.blocks import SCHEDULED
from harness.measure.inputs import verification_inputs
from harness.measure.memory_safety import unsafe_kernels
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.schedules.sketches import Sketches
from harness.schedules.untuned import schedule_untuned
from harness.tuning.tasks import tasks_of

SPEC = load_target("x86-host")
TARGET = target_of(SPEC.tvm.as_tvm())
NETWORK = ["efficientnet-lite0", "ppocr-det", "ppocr-cls", "minilm-l6", "magika", "silero-vad"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "fashion-resnet8",
        "fashion-dscnn",
        *(pytest.param(name, marks=pytest.mark.network) for name in NETWORK),
    ],
)
def test_no_kernel_of_a_catalog_network_accesses_memory_outside(name: str, tmp_path: Path) -> None:
    model = fetched_or_skip(name)
    imported = import_model(model.path, model.shapes, tmp_path)
    fused = fuse(adapt(canonicalise(imported.module), SPEC.passes, TARGET, frozenset()), "full")
    rows, _ = verification_inputs(model.task, imported.inputs, 1, 0)
    feeds = list(rows[0].values())
    names = [kernel.name for kernel in kernels(fused)]
    assert not unsafe(schedule_untuned(fused, TARGET, 1), names, feeds, tmp_path / "default.so")
    tuned, sketched = fused.clone(), []
    for task in tasks_of(fused, TARGET):
        for schedule in islice(Sketches(task.module, TARGET, 1).promising(), 1):
            kernel = schedule.mod["main"].with_attr(SCHEDULED, True)
            kernel = kernel.with_attr("global_symbol", task.name)
            tuned.update_func(fused.get_global_var(task.name), kernel)
            sketched.append(task.name)
    assert not unsafe(schedule_untuned(tuned, TARGET, 1), sketched, feeds, tmp_path / "tuned.so")


def unsafe(
    scheduled: tvm.IRModule, names: list[str], feeds: list[np.ndarray], library: Path
) -> dict[str, str]:
    """What compiled code of a network accesses outside its kernels' arguments."""
    executable = compile_scheduled(scheduled, TARGET).executable
    executable.export_library(str(library), cc=linker(None))
    return unsafe_kernels(library, names, feeds)
