from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from small_models import FLOAT, convolutional, onnx_model, save

from harness.cli.inspect import command
from harness.errors import InputError
from harness.inspection.process import surveyed
from harness.inspection.survey import model_files, survey
from harness.records.store import FILE_NAME


def relu(shape: list[int | str]) -> object:
    return onnx_model([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, shape)], ["y"])


def unsupported() -> object:
    nodes = [
        helper.make_node("Relu", ["x"], ["t"], name="first"),
        helper.make_node("Multinomial", ["t"], ["y"], name="dice", sample_size=2),
    ]
    return onnx_model(nodes, [("x", FLOAT, [1, 4])], [("y", TensorProto.INT32, [1, 2])])


def folder_of_models(folder: Path) -> Path:
    (folder / "inner").mkdir()
    save(convolutional(), folder / "good.onnx")
    save(unsupported(), folder / "inner" / "dice.onnx")
    save(relu(["batch", 3]), folder / "batch.onnx")
    save(relu([1, 3, "height", "width"]), folder / "image.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    (folder / "notes.txt").write_text("no model either")
    return folder


def test_files_below_folders_are_models_by_suffix(tmp_path: Path) -> None:
    folder = folder_of_models(tmp_path)
    names = [path.relative_to(folder).as_posix() for path in model_files((folder,))]
    assert names == ["batch.onnx", "broken.onnx", "good.onnx", "image.onnx", "inner/dice.onnx"]


def test_files_that_a_sweep_keeps_with_its_results_are_left_out(tmp_path: Path) -> None:
    kept = tmp_path / "results" / "work" / "copy"
    kept.mkdir(parents=True)
    for path in (kept / "copy.onnx", tmp_path / "results" / "beside.onnx", tmp_path / "own.onnx"):
        save(convolutional(), path)
    (tmp_path / "results" / FILE_NAME).touch()
    assert [path.name for path in model_files((tmp_path,))] == ["own.onnx", "beside.onnx"]


def test_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder with models \(\.onnx, \.pt2"):
        list(model_files((tmp_path,)))


def test_usable_model_is_described(tmp_path: Path) -> None:
    found = survey(save(convolutional(), tmp_path / "good.onnx"), {})
    assert found.refusal is None
    assert found.assumed == {}
    assert found.description is not None
    assert found.description.version.startswith("opset ")


def test_free_batch_alone_asks_for_nothing(tmp_path: Path) -> None:
    found = survey(save(relu(["batch", 3]), tmp_path / "model.onnx"), {})
    assert (found.refusal, found.assumed, found.single) == (None, {}, True)
    assert not survey(save(relu([1, 3]), tmp_path / "fixed.onnx"), {}).single
    assert found.description is not None
    assert found.description.inputs == {"x": "float32[batch, 3]"}


def test_other_free_dimensions_are_asked_for_with_shapes_that_work(tmp_path: Path) -> None:
    path = save(relu([1, 3, "height", "width"]), tmp_path / "model.onnx")
    found = survey(path, {})
    assert found.refusal is None
    assert found.assumed == {"x": (1, 3, 32, 32)}
    assert survey(path, {"x": (1, 3, 8, 8)}).assumed == {}


def test_shapes_are_tried_until_one_can_be_imported(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    weights = {"w": np.ones((2, 1, 100), np.float32)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 1, "samples"])], ["y"], weights)
    assert survey(save(model, tmp_path / "model.onnx"), {}).assumed == {"x": (1, 1, 160)}


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "GRU"])
def test_extents_that_weights_ask_for_are_not_guessed(tmp_path: Path, operator: str) -> None:
    recurrent = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["u"]),
        helper.make_node("Unsqueeze", ["state", "axes"], ["s"]),
        helper.make_node("GRU", ["u", "w", "r", "", "", "s"], ["y"], hidden_size=4),
    ]
    nodes = recurrent if operator == "GRU" else [helper.make_node(operator, ["x", "w"], ["y"])]
    constants = {
        "w": np.ones((1, 12, 46) if operator == "GRU" else (46, 3), np.float32),
        "r": np.ones((1, 12, 4), np.float32),
        "axis": np.array([1]),
        "axes": np.array([0, 1]),
    }
    used = constants if operator == "GRU" else {"w": constants["w"]}
    inputs = [("x", FLOAT, ["time", "features"]), ("state", FLOAT, [4])]
    model = onnx_model(nodes, inputs[: 1 + (operator == "GRU")], ["y"], used)
    found = survey(save(model, tmp_path / "model.onnx"), {})
    assert (found.refusal, found.assumed) == (None, {"x": (1, 46)})


def test_first_dimension_may_be_no_batch(tmp_path: Path) -> None:
    """Data of [frames, bands, 3], as wide as the constant that scales them."""
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "axis"], ["u"]),
        helper.make_node("Transpose", ["u"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["y"]),
    ]
    constants = {
        "scale": np.ones((80, 3), np.float32),
        "axis": np.array([0]),
        "w": np.ones((2, 3, 7, 3), np.float32),
    }
    model = onnx_model(nodes, [("x", FLOAT, ["frames", "bands", "channels"])], ["y"], constants)
    found = survey(save(model, tmp_path / "model.onnx"), {})
    assert (found.refusal, found.assumed) == (None, {"x": (160, 80, 3)})


def test_data_that_do_not_fit_a_recurrent_layer_are_told(tmp_path: Path) -> None:
    nodes = [helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4, name="layer")]
    constants = {"w": np.ones((1, 12, 46), np.float32), "r": np.ones((1, 12, 4), np.float32)}
    model = onnx_model(nodes, [("x", FLOAT, ["time", 1, "features"])], ["y"], constants)
    found = survey(save(model, tmp_path / "model.onnx"), {"x": (5, 1, 32)})
    assert found.refusal is not None
    assert "data of 32 values a step, where its weights are of 46" in found.refusal.sentence


def test_state_between_inputs_has_a_batch_of_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["s"], ["t"])]
    inputs = [("x", FLOAT, ["batch", "time"]), ("s", FLOAT, [2, "batch", 8])]
    found = survey(save(onnx_model(nodes, inputs, ["y", "t"]), tmp_path / "model.onnx"), {})
    assert found.assumed == {"x": (1, 32), "s": (2, 1, 8)}


def test_refusal_has_operators_and_their_nodes(tmp_path: Path) -> None:
    found = survey(save(unsupported(), tmp_path / "dice.onnx"), {})
    assert found.refusal is not None
    assert found.refusal.nodes == {"Multinomial": ("dice",)}
    assert found.refusal.assumed == {}


def test_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    found = survey(path, {})
    assert found.refusal is not None
    assert found.refusal.sentence.startswith("expected an ONNX model")


def test_crash_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", f"{Path(__file__).parents[1] / 'helpers'}:{os.environ.get('PYTHONPATH', '')}"
    )
    monkeypatch.setattr("harness.inspection.process.__name__", "crashing_survey")
    paths = [tmp_path / f"{name}.onnx" for name in ("first", "crash", "once", "last")]
    for path in paths:
        save(relu([1, 2]), path)
    found = list(surveyed(paths, {}))
    assert [each.refusal is None for each in found] == [True, False, True, True]
    assert found[1].refusal is not None
    assert "SIGSEGV" in found[1].refusal.sentence


def test_command_answers_for_a_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(folder_of_models(tmp_path))])
    assert result.exit_code == 1
    assert "5 files: 3 can be used, 1 of them with shapes that you give; 2 cannot" in result.output
    assert "inner/dice.onnx: dice" in result.output
    assert "image.onnx  x=1,3,32,32" in result.output


def test_command_ends_well_where_all_can_be_used(tmp_path: Path) -> None:
    path = save(convolutional(), tmp_path / "good.onnx")
    result = CliRunner().invoke(command, [str(path), "--usable", "--json"])
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)
    assert found["path"] == str(path)
    assert found["refusal"] is None


def test_names_do_not_reach_the_terminal_as_commands(tmp_path: Path) -> None:
    evil = "a\n\x1b[31mb"
    nodes = [helper.make_node("Multinomial", [evil], ["y"], name=evil, sample_size=2)]
    model = onnx_model(nodes, [(evil, FLOAT, [1, 4])], [("y", TensorProto.INT32, [1, 2])])
    save(model, tmp_path / "evil.onnx")
    save(onnx_model([helper.make_node("Relu", [evil], ["y"])], [(evil, FLOAT, [1, "n", 4])], ["y"]),
         tmp_path / "shaped.onnx")  # fmt: skip
    shown = CliRunner().invoke(command, [str(tmp_path)]).output
    assert "\\x1b[31mb" in shown and "\x1b" not in shown
