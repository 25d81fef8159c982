"""Quantizes networks as a cell does, on the kernels of a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from small_models import save

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import target_of, tvm
from harness.hardware import load_target
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.networks.context import Context
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.quantization.step import apply
from harness.records.record import Quantization
from harness.specs.quantization import Quantize
from harness.specs.target import TargetSpec

BOARD = load_target("raspberry-pi-5")
"""A target that multiplies integers, whatever this machine does."""
HERE = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def read(model: onnx.ModelProto, folder: Path) -> Imported:
    return import_model(save(model, folder / "net.onnx"), {}, folder)


def inputs(imported: Imported, count: int, seed: int = 0) -> list[list[np.ndarray]]:
    random = np.random.default_rng(seed)
    return [
        [random.standard_normal(spec.shape).astype(spec.dtype) for spec in imported.inputs]
        for _ in range(count)
    ]


def context(samples: list[list[np.ndarray]], spec: Any = BOARD) -> tuple[Context, list[Any]]:
    """A context, and the list of what is kept as a reference."""
    kept: list[Any] = []

    def unused(*_: Any) -> Any:
        raise AssertionError

    made = Context(
        spec=spec,
        target=target_of(spec.tvm.as_tvm()),
        here=HERE,
        threads=2,
        seed=0,
        state=False,
        fusion="full",
        inputs=lambda: samples[:1],
        calibration=lambda: samples,
        training=list,
        tuning_database=Path("unused"),
        folder=unused,
        kernel_inputs=unused,
        keep_reference=kept.append,
        tell=lambda message: None,
        progress=lambda message: None,
    )
    return made, kept


def quantized(
    model: onnx.ModelProto, folder: Path, spec: TargetSpec = BOARD, **options: Any
) -> tuple[tvm.IRModule, tvm.IRModule, Quantization, Imported]:
    """The network before and after, and what was done."""
    imported = read(model, folder)
    canonical = canonicalise(imported.module, imported.layer_names)
    made, kept = context(inputs(imported, 24), spec)
    found, entry = apply(canonical, made, Quantize(**options))
    assert kept == [found]
    return canonical, found, entry, imported


def change(before: tvm.IRModule, after: tvm.IRModule, imported: Imported) -> float:
    """The distance of the outputs on new inputs, relative to their size."""
    machines = [machine_of(fuse(each, "full"), HERE, 2) for each in (before, after)]
    apart = total = 0.0
    for sample in inputs(imported, 8, seed=1):
        one, other = (outputs_of(machine, sample) for machine in machines)
        apart += float(np.square(other - one).sum())
        total += float(np.square(one).sum())
    return (apart / total) ** 0.5
