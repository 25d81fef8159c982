from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import harness.machine.roofline
from harness.errors import CellFailure
from harness.hardware import detect_host, this_processor
from harness.hardware.llvm import vector_bits
from harness.machine.roofline import Roofs, measured_roofs, with_measured_roofs
from harness.processes.python import ChildFailure
from harness.specs.target import TargetSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(harness.machine.roofline, "disturbances", list)
    return tmp_path


@pytest.mark.slow
def test_roofs_are_plausible_and_kept_when_measured(cache: Path) -> None:
    spec = detect_host()
    roofs = measured_roofs(spec)
    lanes, cores = vector_bits(spec.tvm) // 32, spec.tvm.num_cores
    # From one unit at 0.2 GHz on a machine full of other work, to three units at 6 GHz.
    assert cores * lanes * 2 * 0.2 < roofs.peak_gflops < cores * lanes * 2 * 3 * 6
    assert 0.1 < roofs.memory_bandwidth_gbs < 2000
    assert roofs.threads == cores
    assert roofs.triad_mb * 1e6 < this_processor().memory_mb * 1e6 / 3
    (stored,) = (cache / "roofs").iterdir()
    assert Roofs.model_validate_json(stored.read_text()) == roofs


def test_roofs_come_from_the_cache_when_measured_before(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = detect_host()
    figures = {"peak_gflops": 123.44, "memory_bandwidth_gbs": 5.0, "threads": 1, "triad_mb": 1.0}
    calls = iter([json.dumps({**figures, "beyond_cache": True})])
    monkeypatch.setattr(harness.machine.roofline, "run_python", lambda *_, **__: next(calls))
    filled = with_measured_roofs(spec)
    assert filled == with_measured_roofs(spec)
    assert filled.hardware.peak_gflops == 123.4
    assert filled.hardware.memory_bandwidth_gbs == 5.0
    assert filled.tvm == spec.tvm


def test_roofs_are_measured_again_when_the_stored_ones_are_damaged(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"peak_gflops": 1.0, "memory_bandwidth_gbs": 5.0, "threads": 1, "triad_mb": 1.0}
    text = json.dumps({**figures, "beyond_cache": True})
    monkeypatch.setattr(harness.machine.roofline, "run_python", lambda *_, **__: text)
    measured_roofs(detect_host())
    (stored,) = (cache / "roofs").iterdir()
    stored.write_text(stored.read_text()[:10])
    assert measured_roofs(detect_host()) == Roofs.model_validate_json(text)


def test_roofs_rise_to_what_a_later_moment_reaches_and_never_fall(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"threads": 1, "triad_mb": 1.0, "beyond_cache": True}
    measured = iter(
        json.dumps({**figures, "peak_gflops": peak, "memory_bandwidth_gbs": bandwidth})
        for peak, bandwidth in ((100.0, 20.0), (90.0, 40.0))
    )
    monkeypatch.setattr(harness.machine.roofline, "run_python", lambda *_, **__: next(measured))
    spec = detect_host()
    measured_roofs(spec)
    (stored,) = (cache / "roofs").iterdir()
    os.utime(stored, (0, 0))
    later = measured_roofs(spec)
    assert (later.peak_gflops, later.memory_bandwidth_gbs) == (100.0, 40.0)
    assert measured_roofs(spec) == later, "recent enough: nothing is left to measure"


def test_roofs_are_not_kept_when_other_work_was_running(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"peak_gflops": 1.0, "memory_bandwidth_gbs": 5.0, "threads": 1, "triad_mb": 1.0}
    text = json.dumps({**figures, "beyond_cache": True})
    monkeypatch.setattr(harness.machine.roofline, "run_python", lambda *_, **__: text)
    monkeypatch.setattr(harness.machine.roofline, "disturbances", lambda: ["a compiler"])
    assert measured_roofs(detect_host()) == Roofs.model_validate_json(text)
    assert not (cache / "roofs").exists()


def test_roofs_name_the_target_when_the_measurement_crashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*_: object, **__: object) -> str:
        raise ChildFailure("crashed with SIGILL")

    monkeypatch.setattr(harness.machine.roofline, "run_python", crash)
    with pytest.raises(CellFailure, match="roofs of 'x86-host' failed: crashed with SIGILL"):
        measured_roofs(detect_host())


@pytest.mark.parametrize("mcpu", ["haswell", "skylake-avx512"])
def test_fma_loop_stays_in_registers_when_compiled(mcpu: str) -> None:
    import tvm

    from harness.hardware.roof_kernels import ACCUMULATORS, fma_kernel

    spec = TargetSpec.model_validate(
        {
            "schema": 1,
            "name": "mine",
            "architecture": "x86",
            "tvm": {"mtriple": "x86_64-linux-gnu", "mcpu": mcpu, "num-cores": 2},
            "hardware": {"cores": 2},
        }
    )
    lanes = vector_bits(spec.tvm) // 32
    register = {8: "ymm", 16: "zmm"}[lanes]
    module = tvm.IRModule({"main": fma_kernel(2, lanes)})
    built = tvm.compile(module, target=tvm.target.Target(spec.tvm.as_tvm()))
    lines = built.mod.inspect_source("asm").splitlines()
    fused = [index for index, line in enumerate(lines) if "\tvfmadd" in line]
    assert len(fused) >= ACCUMULATORS
    # From the first multiply-add to the last there is nothing else, and none touches memory.
    block = lines[fused[0] : fused[-1] + 1]
    assert len(block) == len(fused)
    assert all(line.count(f"%{register}") == 3 and "(" not in line for line in block)
