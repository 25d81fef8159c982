"""A network with state is measured in its first inference, which is said, and not exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_models import save_counting_tflite
from sweeps import FUSED, Heard, write_sweep

from harness.deploy.folder import export
from harness.errors import InputError
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep

pytest.importorskip("tflite", reason="needs the extra: pip install 'layeredge[tflite]'")


@pytest.mark.slow
def test_state_is_said_and_the_network_not_exported(tmp_path: Path) -> None:
    save_counting_tflite(tmp_path / "counting.tflite")
    path = write_sweep(tmp_path, (), configurations=[FUSED], baselines=[])
    written = yaml.safe_load(path.read_text()) | {"models": ["./counting.tflite"]}
    path.write_text(yaml.safe_dump(written))
    heard = Heard()
    outcome = run_sweep(Sweep.read(path), tmp_path / "out", tmp_path / "tuning", heard)
    (record,) = outcome.records
    assert record.status == "ok", record.reason
    assert heard.notes == [
        "model 'counting': keeps state in variables (handle); it is verified and measured in its "
        "first inference, and is not exported"
    ]
    with pytest.raises(InputError, match="keeps state in handle"):
        export(tmp_path / "out", record, tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()
