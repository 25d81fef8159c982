"""A network on the graphics processor of this machine, where there is one that is described."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps import FUSED, Heard, write_sweep

from harness.devices.graphics.processor import graphics_processor
from harness.executors.table import placed
from harness.hardware import HOST, known_targets, load_target
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep


def _here() -> str | None:
    """The shipped description of the graphics processor in this machine."""
    described = [load_target(name) for name in known_targets() if name != HOST]
    here = [spec.name for spec in described if placed(spec).device.kind == "local"]
    return next((name for name in here if load_target(name).tvm.kind == "cuda"), None)


@pytest.mark.skipif(
    graphics_processor() is None or _here() is None,
    reason="no graphics processor here that a shipped description is of",
)
@pytest.mark.slow
def test_network_is_tuned_verified_and_measured_on_the_graphics_processor(tmp_path: Path) -> None:
    tuned = {"name": "tuned", "tune": {"trials": 8}}
    limits = {"memory_mb": 24000}
    target = _here()
    sweep = Sweep.read(
        write_sweep(tmp_path, targets=[target], configurations=[FUSED, tuned], limits=limits)
    )
    outcome = run_sweep(sweep, tmp_path / "out", tmp_path / "tuning", Heard())
    fused, found, engine = outcome.records
    assert engine.status == "skipped"
    for record in (fused, found):
        assert record.status == "ok", record.reason
        assert record.kind == "measured" and record.latency is not None
        assert record.verification is not None
        assert record.kernels and all(kernel.median_us > 0 for kernel in record.kernels)
    assert found.tuning is not None and found.tuning.trials == 8
    assert found.tuning.failed_trials < 8
