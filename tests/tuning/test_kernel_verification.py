"""Kernels of a built network beside the same without a schedule."""

from __future__ import annotations

from pathlib import Path

from small_models import feeds, save_int8_tflite

from harness.building.network import compile_scheduled
from harness.compiler.api import PrimFunc, target_of, tirx
from harness.devices.linker import linker
from harness.hardware import load_target
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.schedules.untuned import schedule_untuned
from harness.tuning.candidates.real_inputs import record_kernel_inputs
from harness.tuning.kernel_verification import first_wrong_kernel

SPEC = load_target("x86-host")
HERE = target_of(SPEC.tvm.as_tvm())


def test_kernels_of_a_built_network_are_right(tmp_path: Path) -> None:
    imported = import_model(save_int8_tflite(tmp_path / "net.tflite"), {}, tmp_path)
    fused = fuse(adapt(canonicalise(imported.module), SPEC.passes, HERE), "full", HERE)
    values = list(feeds(imported.inputs).values())
    inputs = record_kernel_inputs(fused, HERE, 2, values, tmp_path / "inputs")
    library = tmp_path / "model.so"
    compiled = compile_scheduled(schedule_untuned(fused, HERE, 2), HERE)
    compiled.executable.export_library(str(library), cc=linker(None))
    assert inputs
    assert first_wrong_kernel(fused, library, inputs, SPEC.tvm.as_tvm()) is None


def test_wrong_code_is_named(tmp_path: Path) -> None:
    """The library of another network with kernels of the same names."""
    imported = import_model(save_int8_tflite(tmp_path / "net.tflite"), {}, tmp_path)
    fused = fuse(adapt(canonicalise(imported.module), SPEC.passes, HERE), "full", HERE)
    values = list(feeds(imported.inputs).values())
    inputs = record_kernel_inputs(fused, HERE, 2, values, tmp_path / "inputs")
    name = next(iter(inputs))
    wrong = fused.clone()
    wrong[name] = _without_its_work(fused[name])
    library = tmp_path / "model.so"
    compiled = compile_scheduled(schedule_untuned(wrong, HERE, 2), HERE)
    compiled.executable.export_library(str(library), cc=linker(None))
    found = first_wrong_kernel(fused, library, inputs, SPEC.tvm.as_tvm())
    assert found is not None
    assert found.startswith(f"kernel {name}, output 0: ")


def _without_its_work(kernel: PrimFunc) -> PrimFunc:
    return kernel.with_body(tirx.Evaluate(0))
