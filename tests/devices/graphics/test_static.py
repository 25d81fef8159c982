from __future__ import annotations

import csv
from pathlib import Path

import pytest
from machine_needs import needs_nvcc
from sweeps import FUSED, PLAIN, Heard, write_sweep

from harness.devices.graphics.pocl import pocl_version
from harness.devices.graphics.static import static_of
from harness.executors import local
from harness.records.artifact import Artifact, KernelDescription
from harness.records.export import write_exports
from harness.records.record import Fusion
from harness.records.store import FILE_NAME, Store
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep
from harness.specs.target import Hardware


def artifact(*kernels: KernelDescription) -> Artifact:
    return Artifact(
        inputs=(),
        outputs=(),
        kernels=kernels,
        fusion=Fusion(kernels_before=1, kernels_after=1),
        tuning=None,
        weights_mb=1,
        activation_mb=1,
        artifact_mb=1,
        target={"kind": "cuda"},
    )


def kernel(calls: int, flops: float, moved: float) -> KernelDescription:
    return KernelDescription(name="k", calls=calls, flops=flops, bytes=moved, tuned=False)


def test_bound_is_the_longer_of_arithmetic_and_movement_for_each_kernel() -> None:
    hardware = Hardware(cores=1, peak_gflops=100, memory_bandwidth_gbs=10)
    found = static_of(artifact(kernel(2, 1e8, 1e6), kernel(1, 1e6, 1e8)), hardware)
    assert found.bound_ms == pytest.approx(2 * 1 + 10)


def test_bound_is_unknown_without_roofs() -> None:
    assert static_of(artifact(kernel(1, 1, 1)), Hardware(cores=1)).bound_ms is None


@needs_nvcc
@pytest.mark.slow
def test_network_is_compiled_and_analysed_for_a_device_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "graphics_processor", lambda: None)
    tuned = {"name": "tuned", "tune": {"trials": 4}}
    sweep = Sweep.read(
        write_sweep(tmp_path, targets=["a100"], configurations=[PLAIN, FUSED, tuned])
    )
    outcome = run_sweep(sweep, tmp_path / "out", tmp_path / "tuning", Heard())
    plain, fused, tuned, engine = outcome.records
    assert [record.status for record in outcome.records] == ["ok", "ok", "ok", "skipped"]
    assert {record.kind for record in outcome.records} == {"static"}
    assert tuned.tuning is not None and tuned.tuning.by == "static estimate"
    assert tuned.static and fused.static and not tuned.static.spill_bytes
    assert 0 < (tuned.static.estimate_ms or 0) <= (fused.static.estimate_ms or 0)
    assert (fused.static.estimate_ms or 0) >= (fused.static.bound_ms or 0)
    assert [path.name.endswith("-static-estimate") for path in (tmp_path / "tuning").iterdir()]
    assert "this machine's processor" in (engine.reason or "")
    assert plain.static and fused.static and fused.latency is None
    assert len(fused.static.launches) < len(plain.static.launches)
    assert all(0 < (launch.occupancy or 0) <= 1 for launch in fused.static.launches)
    mixes = [launch.instructions for launch in fused.static.launches]
    assert all(mix and mix.global_loads and mix.global_stores for mix in mixes)
    assert 0 < (fused.static.bound_ms or 0) < (plain.static.bound_ms or 0)
    verified = [each.static.schedules for each in (plain, fused, tuned) if each.static]
    if pocl_version() is None:
        assert verified == [None, None, None]
    else:
        assert [each and each.unverified for each in verified] == [{}, {}, {}]
        assert (fused.static.kernels_verified or 0) > 1
    with Store(tmp_path / "out" / FILE_NAME) as store:
        write_exports(store, tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open() as file:
        row = next(each for each in csv.DictReader(file) if each["configuration"] == "fused")
    assert int(row["registers_max"]) > 0 and row["spill_bytes"] == "0"
    assert row["kernels_verified"] == str(fused.static.kernels_verified or "")
    assert row["kernels_unverified"] == ("" if pocl_version() is None else "0")
    assert row["latency_ms_median"] == ""
