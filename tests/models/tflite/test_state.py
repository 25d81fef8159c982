"""State in variables becomes inputs and outputs; tensors that operators keep do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models
from tflite_cases import RECURRENT
from tflite_graphs import feeds, save
from tvm_runs import run_on_cpu

from harness.baselines.registry import open_session
from harness.errors import InputError
from harness.hardware import load_target
from harness.inspection.kernels import inspect
from harness.models.description import described
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.models.state import initial_values
from harness.models.tflite.objects import packed
from harness.records.artifact import StateTensor

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
Interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason=REASON).Interpreter

STEPS = [np.array([[1, 2, 3]], np.float32), np.array([[-5, 0.5, 7]], np.float32)] * 2


def in_sequence(path: Path) -> list[list[np.ndarray]]:
    """The outputs of LiteRT, which keeps a model's variables, for each of `STEPS`."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    rows = []
    for step in STEPS:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], step)
        interpreter.invoke()
        details = interpreter.get_output_details()
        rows.append([interpreter.get_tensor(each["index"]) for each in details])
    return rows


def assert_as_in_sequence(path: Path, work: Path) -> Imported:
    """Our network, and LiteRT on the file without variables, give the same if outputs are carried
    over to inputs."""
    imported = import_model(path, {}, work)
    assert imported.prepared is not None and not imported.unkept
    session = open_session("litert", imported.prepared, 1)
    names = [each.name for each in imported.outputs]
    state = initial_values(imported.state, imported.inputs)
    for step, expected in zip(STEPS, in_sequence(path), strict=True):
        given = {"x": step, **state}
        found, also = run_on_cpu(imported, given), session.run(given)
        for outputs in (found, also):
            for one, other in zip(outputs, expected, strict=False):
                np.testing.assert_array_equal(one, other)
        by_name = dict(zip(names, found, strict=True))
        state = {each.input: by_name[each.output] for each in imported.state}
    return imported


def test_variable_is_an_input_and_an_output(tmp_path: Path) -> None:
    path = small_models.save_counting_tflite(tmp_path / "model.tflite")
    imported = assert_as_in_sequence(path, tmp_path)
    assert imported.state == (StateTensor(input="before", output="y", initial=(10, 20, 30)),)
    assert [spec.name for spec in imported.inputs] == ["x", "before"]
    assert [spec.name for spec in imported.outputs] == ["y", "before"]


def test_variables_take_over_inputs_and_each_other(tmp_path: Path) -> None:
    path = small_models.save_delaying_tflite(tmp_path / "model.tflite")
    imported = assert_as_in_sequence(path, tmp_path)
    assert imported.state == (
        StateTensor(input="older", output="newer"),
        StateTensor(input="newer", output="x"),
    )
    # A variable that nothing is assigned to is a constant.
    assert [spec.name for spec in imported.inputs] == ["x", "older", "newer"]
    assert [spec.name for spec in imported.outputs] == ["y", "newer", "x"]


def test_variables_of_graphs_that_are_called_are_refused(tmp_path: Path) -> None:
    path = small_models.save_delaying_tflite(tmp_path / "model.tflite", called=True)
    with pytest.raises(InputError, match="the variable 'newer handle' is used in a graph"):
        import_model(path, {}, tmp_path)


def test_variables_that_are_tensors_begin_anew_too(tmp_path: Path) -> None:
    case = next(case for case in RECURRENT if case.operator == "SVDF")
    path = save([case], tmp_path / "model.tflite")
    session = open_session("litert", path, 1)
    (first,), (second,) = session.run(feeds([case])), session.run(feeds([case]))
    np.testing.assert_array_equal(first, second)
    imported = import_model(path, {}, tmp_path)
    assert not imported.state and imported.unkept == ("x0_4",)


def test_inspection_says_that_a_network_keeps_state(tmp_path: Path) -> None:
    path = small_models.save_counting_tflite(tmp_path / "model.tflite")
    (state,) = inspect(str(path), "full", load_target("x86-host"), {}).state
    assert (state.output, state.input) == ("y", "before")
    assert described(path).state == ("handle",)


def test_names_that_tensors_share_are_told_apart(tmp_path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=REASON)
    path = small_models.save_delaying_tflite(tmp_path / "model.tflite")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = tensor.name if tensor.name == b"x" else "t"
    path.write_bytes(packed(model))
    imported = assert_as_in_sequence(path, tmp_path)
    assert len({spec.name for spec in imported.inputs}) == 3


def test_first_integers_are_exact() -> None:
    state = StateTensor(input="n", output="m", initial=(2**62 + 1,))
    assert StateTensor.model_validate_json(state.model_dump_json()).initial == (2**62 + 1,)
