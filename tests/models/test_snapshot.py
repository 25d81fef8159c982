"""What is imported is what was hashed, however files change meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_models import convolutional, save_with_external_data

from harness.errors import InputError
from harness.models.resolved import hashed, model_files
from harness.models.snapshot import snapshot


def test_copy_has_the_files_beside_a_model_and_keeps_its_content(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    (home / "below").mkdir(parents=True)
    work.mkdir()
    model = convolutional()
    weights = next(each for each in model.graph.initializer if len(each.raw_data) > 256).raw_data
    (home / "below" / "weights.bin").write_bytes(weights)
    path = save_with_external_data(model, home / "net.onnx", "below/weights.bin")
    names = model_files(path, "onnx")
    assert names == ["net.onnx", "below/weights.bin"]
    files = hashed(names, home)
    copy = snapshot(path, files, work / "source")
    content = {name: (home / name).read_bytes() for name in names}
    path.write_bytes(b"another")
    assert {name: (copy.parent / name).read_bytes() for name in names} == content
    assert snapshot(path, files, work / "source") == copy
    with pytest.raises(InputError, match=r"net\.onnx: was changed while the sweep ran"):
        snapshot(path, files, work / "again")
    assert [each.name for each in work.iterdir()] == ["source"]


def test_data_of_an_attribute_count_as_files_of_the_model(tmp_path: Path) -> None:
    """They decide what is computed as initialisers do."""
    model = convolutional()
    constant = model.graph.node.add(op_type="Constant", output=["k"])
    tensor = constant.attribute.add(name="value", type=4).t
    tensor.CopyFrom(model.graph.initializer[0])
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="constant.bin")
    (tmp_path / "constant.bin").write_bytes(b"content")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert model_files(path, "onnx") == ["net.onnx", "constant.bin"]
