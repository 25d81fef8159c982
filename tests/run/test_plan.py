"""What a sweep comes to: which samples are scored, and what a cell is known again by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import convolutional, save

from harness.errors import InputError
from harness.files.shipped import shipped_folder
from harness.hardware import HOST, load_target
from harness.run.model_process import ModelProcess
from harness.run.plan import PlannedGroup, plan, with_threads
from harness.specs.settings import Settings
from harness.specs.sweep import Limits, Sweep

SPARSE = {"sparsity": 0.5, "score": "activation", "calibration": 4}


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """A model with eight labelled samples."""
    images = np.zeros((8, 3, 8, 8), np.float32)
    np.savez(tmp_path / "data.npz", inputs=images, labels=np.arange(8) % 4)
    path = save(convolutional(), tmp_path / "net.onnx")
    return {"name": "net", "path": path, "data": tmp_path / "data.npz", "metric": "top1"}


def training(folder: Path, value: float = 0) -> Path:
    path = folder / "training.npz"
    np.savez(path, inputs=np.full((6, 3, 8, 8), value, np.float32))
    return path


def planned(model: dict[str, Any], *edges: dict[str, Any] | None) -> PlannedGroup:
    configurations = [
        {"name": f"c{at}", **({"edges": each} if each else {})} for at, each in enumerate(edges)
    ]
    keys = {"schema": 1, "models": [model], "configurations": configurations}
    with ModelProcess(Limits()) as models:
        (group,) = plan(Sweep.model_validate(keys), models)
    return group


@pytest.mark.slow
def test_calibration_samples_are_not_scored_unless_there_are_training_inputs(
    model: dict[str, Any], tmp_path: Path
) -> None:
    assert planned(model, None).unscored == 0
    assert planned(model, None, SPARSE).unscored == 4
    group = planned({**model, "training": training(tmp_path)}, None, SPARSE)
    assert group.unscored == 0
    assert group.model.training is not None


@pytest.mark.slow
def test_calibration_that_leaves_nothing_to_score_on_is_refused(
    model: dict[str, Any], tmp_path: Path
) -> None:
    said = "compressed by 8 of its labelled inputs.* and it has 8; expected a smaller"
    with pytest.raises(InputError, match=said):
        planned(model, None, {**SPARSE, "calibration": 8})
    assert planned(model, {**SPARSE, "calibration": 7}).unscored == 7
    trained = {**model, "training": training(tmp_path)}
    assert planned(trained, {**SPARSE, "calibration": 8}).unscored == 0


def test_processor_that_llvm_does_not_know_is_refused(
    model: dict[str, Any], tmp_path: Path
) -> None:
    text = (shipped_folder("targets") / "haswell.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("mcpu: haswell", "mcpu: haswel"))
    keys = {"schema": 1, "models": [model], "targets": [str(path)]}
    with pytest.raises(InputError) as error:
        plan(
            Sweep.model_validate({**keys, "configurations": [{"name": "plain"}]}),
            ModelProcess(Limits()),
        )
    assert str(error.value).startswith(f"{path}: tvm.mcpu: LLVM")
    assert "knows no processor 'haswel'" in str(error.value)
    assert "did you mean 'haswell'?" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_training_inputs_decide_what_is_compressed_by_them(
    model: dict[str, Any], tmp_path: Path
) -> None:
    def marks(value: float) -> list[str]:
        given = {**model, "training": training(tmp_path, value)}
        return [cell.mark for cell in planned(given, None, SPARSE, {"sparsity": 0.5}).cells]

    one, other = marks(0), marks(1)
    assert [first == second for first, second in zip(one, other, strict=True)] == [
        True, False, True, True,
    ]  # fmt: skip


@pytest.mark.slow
def test_how_a_network_is_fine_tuned_decides_its_result(model: dict[str, Any]) -> None:
    edges = [{**SPARSE, "finetune": each} for each in (None, {"epochs": 2}, {"epochs": 3})]
    marks = [planned(model, each).cells[0].mark for each in [SPARSE, *edges]]
    assert marks[0] == marks[1] and len(set(marks)) == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.zeros((6, 3, 8, 8))}, "the model takes float32"),
        ({"inputs": np.zeros((0, 3, 8, 8), np.float32)}, "as many samples of each input"),
        ({"images": np.zeros((6, 3, 8, 8), np.float32)}, "no array 'x'"),
    ],
)
def test_training_inputs_that_do_not_fit_are_refused(
    model: dict[str, Any], tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "training.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        planned({**model, "training": path}, None)
    with pytest.raises(InputError, match="no such file"):
        planned({**model, "training": tmp_path / "nowhere.npz"}, None)


def test_baseline_is_the_reference_of_the_models_format_unless_engines_are_named(
    model: dict[str, Any],
) -> None:
    engines = [cell.key.engine for cell in planned(model, None).cells]
    assert engines == ["tvm", "onnxruntime"]


def test_an_engine_that_is_named_beside_the_reference_is_planned_once(
    model: dict[str, Any],
) -> None:
    keys = {
        "schema": 1,
        "models": [model],
        "configurations": [{"name": "c"}],
        "baselines": ["reference", "openvino", "onnxruntime"],
    }
    with ModelProcess(Limits()) as models:
        (group,) = plan(Sweep.model_validate(keys), models)
    assert [cell.key.engine for cell in group.cells] == ["tvm", "onnxruntime", "openvino"]


def test_each_combination_of_settings_has_cells_of_its_own(tmp_path: Path) -> None:
    path = save(convolutional(batch="n"), tmp_path / "net.onnx")
    keys = {"schema": 1, "models": [str(path)], "configurations": [{"name": "plain"}]}
    sweep = Sweep.model_validate(keys | {"batch": [1, 3], "threads": [1, 2]})
    with ModelProcess(Limits()) as models:
        groups = plan(sweep, models)
    found = [
        (dict(group.model.shapes)["x"][0], group.target.tvm.num_cores, str(cell.key.settings))
        for group in groups
        for cell in group.cells
        if cell.configuration is not None
    ]
    assert found == [
        (batch, threads, f"batch {batch}, {threads} thread" + "s" * (threads > 1))
        for batch in (1, 3)
        for threads in (1, 2)
    ]
    marks = [cell.mark for group in groups for cell in group.cells]
    assert len({*marks}) == len(marks)


@pytest.mark.parametrize(
    ("keys", "cores"),
    [({}, 8), ({"streams": 2}, 4), ({"streams": 3}, 2), ({"streams": 9}, 1),
     ({"streams": 2, "threads": 8}, 8)],
)  # fmt: skip
def test_streams_share_the_cores_unless_threads_are_given(
    keys: dict[str, int], cores: int, tmp_path: Path
) -> None:
    target = load_target(HOST)
    tvm = target.tvm.model_copy(update={"num_cores": 8})
    shared = with_threads(target.model_copy(update={"tvm": tvm}), Settings(**keys))
    assert shared.tvm.num_cores == cores


def test_batch_that_the_file_does_not_leave_free_costs_its_own_cells(tmp_path: Path) -> None:
    path = save(convolutional(), tmp_path / "net.onnx")
    keys = {"schema": 1, "models": [str(path)], "configurations": [{"name": "plain"}]}
    with ModelProcess(Limits()) as models:
        one, eight = plan(Sweep.model_validate(keys | {"batch": [1, 8]}), models)
    assert one.refusal is None
    assert "expected a model with a free first dimension" in (eight.refusal or "")


def test_engines_run_the_networks_of_configurations_with_quantize(model: dict[str, Any]) -> None:
    plain, quantized = {"name": "plain"}, {"name": "int8", "quantize": {"calibration": 4}}
    keys = {"schema": 1, "models": [model], "baselines": ["reference", "onnxruntime-int8"]}
    with ModelProcess(Limits()) as models:
        sweep = Sweep.model_validate({**keys, "configurations": [plain, quantized]})
        (group,) = plan(sweep, models)
        found = [(cell.label, cell.network_of) for cell in group.cells]
        marks = {cell.label: cell.mark for cell in group.cells}
        expected = ["plain", "int8", "onnxruntime", "onnxruntime int8"]
        assert found == [(name, None) for name in expected[:3]] + [(expected[3], marks["int8"])]
        assert len({*marks.values()}) == 4
        # A network that comes out otherwise is another to the engine too.
        quantized["quantize"]["ranges"] = "minmax"
        sweep = Sweep.model_validate({**keys, "configurations": [plain, quantized]})
        (group,) = plan(sweep, models)
        assert group.cells[3].mark != marks["onnxruntime int8"]
        assert group.cells[2].mark == marks["onnxruntime"]
        sweep = Sweep.model_validate({**keys, "configurations": [plain]})
        with pytest.raises(InputError, match="configurations with 'quantize', and none has it"):
            plan(sweep, models)
