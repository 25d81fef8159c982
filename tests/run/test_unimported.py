"""What TVM cannot import costs its own cells; the other engines are measured all the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from small_models import FLOAT, INT64, onnx_model, save, weights
from sweeps import FUSED, QUICK, Heard
from tflite_graphs import Case, Input, Output
from tflite_graphs import save as save_case

from harness.baselines.registry import ENGINES, open_session
from harness.errors import CellFailure, InputError
from harness.models.frontends import import_model
from harness.models.tensors import TensorSpec
from harness.records.record import Record
from harness.run.runnable import runnable_model
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep

PACKAGES = {name: engine.package for name, engine in ENGINES.items()}


def reversing(batch: int | str = 2) -> onnx.ModelProto:
    """An operator that is not imported (Unique), of `x` (batch × 3) and `lengths` (batch)."""
    nodes = [
        helper.make_node("Unique", ["x"], ["u"], name="different"),
        helper.make_node("ReduceMax", ["u"], ["m"], keepdims=0),
        helper.make_node("Sub", ["x", "m"], ["g"]),
        helper.make_node("ReverseSequence", ["g", "lengths"], ["y"], batch_axis=0, time_axis=1),
    ]
    inputs = [("x", FLOAT, [batch, 3]), ("lengths", INT64, [batch])]
    outputs = [("y", FLOAT, [batch, 3])]
    return onnx_model(nodes, inputs, outputs, {})


def swept(folder: Path, models: list[object], **keys: object) -> dict[tuple[str, str], Record]:
    """The records of a sweep by model and engine."""
    sweep = {
        "schema": 1,
        "models": models,
        "configurations": [FUSED],
        "measure": QUICK,
        **keys,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    records = run_sweep(Sweep.read(path), folder / "out", folder / "tuning", Heard()).records
    return {(record.key.model, record.key.engine): record for record in records}


@pytest.mark.slow
def test_baselines_measure_what_tvm_cannot_import(tmp_path: Path) -> None:
    save(reversing("n"), tmp_path / "reversing.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    models: list[object] = [
        {"name": "reversing", "path": "reversing.onnx", "shapes": {"x": [2, 3]}},
        "./broken.onnx",
    ]
    engines = [name for name in ("onnxruntime", "openvino", "litert") if find_spec(PACKAGES[name])]
    ran = {("reversing", "onnxruntime"): "onnxruntime", ("reversing", "openvino"): "onnxruntime"}
    refused = {"reversing": "operator Unique of node 'different'"}
    if "litert" in engines:
        case = Case("BITCAST", (Input((2, 3)),), [Output("int32")], "BitcastOptions")
        save_case([case], tmp_path / "bits.tflite")
        models.append("./bits.tflite")
        ran |= {("bits", "litert"): "litert"}
        refused["bits"] = "the bits of values are not read as another type"
    found = swept(tmp_path, models, baselines=engines)
    for model, why in refused.items():
        ours = found[model, "tvm"]
        assert (ours.status, ours.stage) == ("failed", "import")
        assert why in str(ours.reason)
    for (model, engine), reference in ran.items():
        if engine not in engines:
            continue
        record = found[model, engine]
        assert record.status == "ok", record.reason
        assert record.verification is not None and record.verification.reference == reference
        assert record.verification.inputs == QUICK["verify_inputs"]
        assert record.latency is not None and record.latency.samples == QUICK["repeats"]
    if "litert" in engines:
        assert found["reversing", "litert"].status == "skipped"
    for engine in ("tvm", "onnxruntime"):
        record = found["broken", engine]
        assert (record.status, record.stage) == ("failed", "import")
        assert "broken.onnx: expected an ONNX model" in str(record.reason)


def test_reason_of_openvino_is_one_line_without_places_in_its_source(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra: pip install 'layeredge[openvino]'")
    nodes = [helper.make_node("Det", ["x"], ["y"])]
    path = save(onnx_model(nodes, [("x", FLOAT, [2, 3, 3])], ["y"]), tmp_path / "model.onnx")
    with pytest.raises(CellFailure) as failure:
        open_session("openvino", path, 1)
    text = str(failure.value)
    assert "No conversion rule found for operations: Det" in text
    assert "Exception from" not in text and "\n" not in text and ".cpp" not in text


def test_network_takes_the_inputs_that_stand_in_its_file(tmp_path: Path) -> None:
    path = save(reversing("n"), tmp_path / "model.onnx")
    found = runnable_model(path, {"x": (4, 3)}, tmp_path / "work")
    assert found.inputs == (
        TensorSpec("x", (4, 3), "float32"),
        TensorSpec("lengths", (4,), "int64"),
    )
    assert found.path.parent == tmp_path / "work"
    with pytest.raises(InputError, match="--shape x=<n>,3 --shape lengths=<n>"):
        runnable_model(path, {}, tmp_path / "work")


def branching() -> onnx.ModelProto:
    """`x` (any × any) by one of two matrices, of 4 and of 6 rows, as `wide` says."""
    branches = {}
    for name, rows in {"then_branch": 6, "else_branch": 4}.items():
        matrix = numpy_helper.from_array(weights(rows, 2), f"matrix_{rows}")
        product = helper.make_node("MatMul", ["x", matrix.name], [f"product_{rows}"])
        result = helper.make_tensor_value_info(f"product_{rows}", FLOAT, [None, 2])
        branches[name] = helper.make_graph([product], name, [], [result], [matrix])
    choice = helper.make_node("If", ["wide"], ["y"], name="choice", **branches)
    inputs = [("x", FLOAT, [None, None]), ("wide", TensorProto.BOOL, [])]
    return onnx_model([choice], inputs, ["y"])


def test_branch_that_is_not_taken_may_not_fit_the_shapes(tmp_path: Path) -> None:
    path = save(branching(), tmp_path / "model.onnx")
    for width, wide in ((4, False), (6, True)):
        shapes: dict[str, tuple[int, ...]] = {"x": (3, width), "wide": ()}
        with pytest.raises(InputError, match="ONNX Runtime refuses it with these shapes"):
            import_model(path, shapes, tmp_path / "work")
        found = runnable_model(path, shapes, tmp_path / "work")
        specs = TensorSpec("x", (3, width), "float32"), TensorSpec("wide", (), "bool")
        assert found.inputs == specs
        session = open_session("onnxruntime", found.path, 1)
        feeds = {"x": np.ones((3, width), np.float32), "wide": np.array(wide)}
        session.bind(feeds)()
        (y,) = session.run(feeds)
        np.testing.assert_allclose(y, feeds["x"] @ weights(width, 2), rtol=1e-5)
        with pytest.raises(InputError, match="expected float32"):
            session.run({"x": np.ones((2, width), np.float32), "wide": np.array(wide)})


def test_shapes_that_fit_nothing_are_refused_where_there_is_no_branch(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = onnx_model([product], [("x", FLOAT, [None, None])], ["y"], {"w": weights(4, 2)})
    path = save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=f"{path}: ONNX Runtime refuses it with these shapes"):
        runnable_model(path, {"x": (3, 6)}, tmp_path / "work")


@pytest.mark.slow
def test_exported_program_takes_its_own_inputs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

    class Network(torch.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x):  # type: ignore[no-untyped-def]
            return torch.linalg.det(x)

    program = torch.export.export(Network().eval(), (torch.ones(2, 3, 3),))
    torch.export.save(program, tmp_path / "model.pt2")
    found = runnable_model(tmp_path / "model.pt2", {}, tmp_path)
    assert found.path == tmp_path / "model.pt2"
    assert found.inputs == (TensorSpec("x", (2, 3, 3), "float32"),)
    with pytest.raises(InputError, match="is fixed in the file"):
        runnable_model(tmp_path / "model.pt2", {"x": (1, 3, 3)}, tmp_path)


@pytest.mark.parametrize("what", ["input", "output"])
def test_what_is_no_tensor_of_numbers_is_refused(tmp_path: Path, what: str) -> None:
    if what == "input":
        node, text = helper.make_node("StringNormalizer", ["x"], ["y"]), TensorProto.STRING
        model = onnx_model([node], [("x", text, [2])], [("y", text, [2])])
    else:
        sequence = helper.make_node("SequenceConstruct", ["x"], ["y"])
        graph = helper.make_graph(
            [sequence],
            "g",
            [helper.make_tensor_value_info("x", FLOAT, [2])],
            [helper.make_tensor_sequence_value_info("y", FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = save(model, tmp_path / "model.onnx")
    with pytest.raises(
        (InputError, CellFailure), match=f"{path}: {what} .* expected a tensor of real"
    ):
        runnable_model(path, {}, tmp_path)
