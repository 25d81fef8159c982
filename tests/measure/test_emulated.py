"""Networks on the emulated board, where it was set up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from machine_needs import needs_board
from onnx import TensorProto, helper
from small_models import onnx_model, save
from sweeps import FUSED, Heard, write_sweep

from harness.devices.emulated.loop_throughput import analyser_version
from harness.executors.table import executor_of, placed
from harness.hardware import as_yaml, load_target
from harness.records.record import Record
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep
from harness.specs.target import TvmTarget

TUNED = {"name": "tuned", "tune": {"trials": 4}}


def run(folder: Path, out: str, target: str, *configurations: object) -> tuple[Record, ...]:
    sweep = Sweep.read(write_sweep(folder, targets=[target], configurations=list(configurations)))
    return run_sweep(sweep, folder / out, folder / "tuning", Heard()).records


@needs_board
@pytest.mark.slow
def test_network_is_verified_and_counted(tmp_path: Path) -> None:
    records = run(tmp_path, "out", "raspberry-pi-4", FUSED, TUNED)
    fused, tuned, _ = records
    assert [record.status for record in records] == ["ok", "ok", "skipped"], records
    assert {record.kind for record in records} == {"emulated-count"}
    for record in (fused, tuned):
        assert record.verification is not None and record.latency is None
        count = record.instructions
        assert count is not None
        assert 0 < count.load_store + count.simd + count.branch < count.total
        assert record.accuracy is not None
    assert fused.loops is not None
    if analyser_version() is None:
        assert "not installed" in (fused.loops.reason or "") and not fused.loops.loops
    else:
        assert 0 < (fused.loops.peak_share or 0) <= 1
    assert fused.instructions is not None
    assert tuned.instructions is not None and tuned.tuning is not None
    assert tuned.instructions.total <= fused.instructions.total
    assert tuned.tuning.by == "instructions" and tuned.tuning.trials == 4
    point = tuned.tuning.curve[-1]
    assert point.estimate_ms is None and point.estimate_instructions
    # What is outside the kernels is in neither estimate: they are the most of a network.
    assert 0.5 < point.estimate_instructions / tuned.instructions.total <= 1
    assert [path.name for path in (tmp_path / "tuning").iterdir()] == [
        executor_of(placed(load_target("raspberry-pi-4"))).tuning_folder
    ]


def quotients() -> onnx.ModelProto:
    """Of integers: SVE divides vectors of them, which the Neon of a Raspberry Pi 4 cannot."""
    shape = [("y", TensorProto.INT32, [4, 64])]
    node = helper.make_node("Div", ["x", "by"], ["y"])
    by = np.arange(1, 65, dtype=np.int32)
    return onnx_model([node], [("x", TensorProto.INT32, [4, 64])], shape, {"by": by})


@needs_board
@pytest.mark.slow
def test_code_that_needs_more_than_the_described_processor_fails_its_cell(tmp_path: Path) -> None:
    spec = load_target("raspberry-pi-4")
    wrong = TvmTarget.model_validate(
        {**spec.tvm.model_dump(by_alias=True), "mattr": ["+neon", "+sve"]}
    )
    path = tmp_path / "wrong.yaml"
    path.write_text(as_yaml(spec.model_copy(update={"tvm": wrong, "name": "wrong"})))
    sweep = Sweep.read(write_sweep(tmp_path, targets=[str(path)], configurations=[FUSED]))
    save(quotients(), tmp_path / "good.onnx")
    record, _ = run_sweep(sweep, tmp_path / "out", tmp_path / "tuning", Heard()).records
    assert record.status == "failed" and record.stage == "verify"
    assert "needs more than the described processor, 'cortex-a72'" in (record.reason or "")


def test_without_a_board_cells_are_skipped_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path / "empty"))
    found = run(tmp_path, "out", "raspberry-pi-4", FUSED)
    assert {record.status for record in found} == {"skipped"}
    assert all("devices setup arm-emulated" in (record.reason or "") for record in found)
