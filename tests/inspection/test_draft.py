from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from small_models import convolutional, save

from harness.cli.init import command
from harness.errors import InputError
from harness.specs.sweep import Sweep


@pytest.mark.slow
def test_sweep_is_drafted_for_files_and_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of one name are told apart; one that is none is named and left out."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    save(convolutional(), tmp_path / "a" / "my net.onnx")
    save(convolutional(batch="n"), tmp_path / "a" / "b" / "my net.onnx")
    (tmp_path / "a" / "wrong.onnx").write_bytes(b"no model")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["a", "--out", "sweep.yaml"], standalone_mode=False)
    assert done.return_value == 1, done.output
    assert "left out: a/wrong.onnx: " in done.output
    assert Path("sweep.yaml").read_text().count("; a free batch is 1, or the sweep's `batch`") == 1
    sweep = Sweep.read(Path("sweep.yaml"))
    assert [model.name for model in sweep.models] == ["my-net", "my-net-2"]
    assert all(model.path and model.path.exists() for model in sweep.models)
    assert [one.name for one in sweep.configurations] == ["unfused", "fused", "tuned"]
    again = CliRunner().invoke(command, ["a"])
    assert isinstance(again.exception, InputError) and "is there already" in str(again.exception)


def test_nothing_is_written_when_no_file_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "wrong.onnx").write_bytes(b"no model")
    out = tmp_path / "sweep.yaml"
    done = CliRunner().invoke(command, [str(tmp_path / "wrong.onnx"), "--out", str(out)])
    assert isinstance(done.exception, InputError) and not out.exists()
