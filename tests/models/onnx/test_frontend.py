"""ONNX to Relax: the numbers of ONNX Runtime, and one clear line for what cannot be imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import small_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from small_models import FLOAT, INT64, convolutional, onnx_model, save
from tvm_runs import assert_same_numbers, operators_of

from harness.baselines.registry import open_session
from harness.errors import InputError
from harness.models.formats import INPUT_SHAPES
from harness.models.frontends import import_model
from harness.models.onnx.shapes import fix_shapes
from harness.models.tensors import TensorSpec
from harness.run.runnable import runnable_model


def refused(
    model: onnx.ModelProto | Path, tmp_path: Path, shapes: dict[str, tuple[int, ...]] | None = None
) -> str:
    path = model if isinstance(model, Path) else small_models.save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError) as error:
        import_model(path, shapes or {}, tmp_path / "work")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (lambda: small_models.convolutional(), {}),
        (lambda: small_models.convolutional("N", None), {"x": (1, 3, 8, 8)}),
        (small_models.shape_arithmetic, {"x": (2, 3, 4)}),
    ],
    ids=["static", "dynamic", "shape-arithmetic"],
)
def test_import_computes_what_onnxruntime_does_when_compiled(
    tmp_path: Path,
    build: Callable[[], onnx.ModelProto],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    path = small_models.save(build(), tmp_path / "model.onnx")
    imported = import_model(path, shapes, tmp_path / "work")
    assert imported.prepared == tmp_path / "work" / "prepared.onnx"
    session = open_session("onnxruntime", imported.prepared, threads=1)
    assert session.inputs == imported.inputs
    feeds = small_models.feeds(imported.inputs)
    reference = session.run(feeds)
    assert_same_numbers(imported, feeds, reference)
    # The prepared file is still the user's model.
    original = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(original.run(None, feeds)[0], reference[0], rtol=1e-5)


def test_import_names_inputs_and_outputs_as_the_file_does_when_names_are_no_identifiers(
    tmp_path: Path,
) -> None:
    model = small_models.onnx_model(
        [
            helper.make_node("Relu", ["serving/x:0"], ["1.out"]),
            helper.make_node("Neg", ["serving/x:0"], ["b/c:1"]),
        ],
        [("serving/x:0", FLOAT, ["n", 4])],
        ["1.out", "b/c:1"],
    )
    path = small_models.save(model, tmp_path / "model.onnx")
    imported = import_model(path, {"serving/x:0": (2, 4)}, tmp_path)
    assert imported.inputs == (TensorSpec("serving/x:0", (2, 4), "float32"),)
    assert [spec.name for spec in imported.outputs] == ["1.out", "b/c:1"]
    feeds = small_models.feeds(imported.inputs)
    x = feeds["serving/x:0"]
    assert_same_numbers(imported, feeds, [np.maximum(x, 0), -x])


def test_prepared_model_is_static_plain_onnx_when_shape_arithmetic_was_folded(
    tmp_path: Path,
) -> None:
    path = small_models.save(small_models.shape_arithmetic(), tmp_path / "model.onnx")
    prepared = import_model(path, {"x": (2, 3, 4)}, tmp_path).prepared
    assert prepared is not None
    model = onnx.load(prepared)
    onnx.checker.check_model(model, full_check=True)
    # No Gemm: it would bring reshapes along.
    assert [node.op_type for node in model.graph.node] == ["Reshape", "MatMul", "Add"]
    assert [opset.domain for opset in model.opset_import] == [""]
    dims = model.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [2, 5]
    assert not list(tmp_path.glob(".prepared*"))


def test_import_settles_a_symbol_everywhere_when_one_input_fixes_it(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", FLOAT, ["batch", 3]), ("b", FLOAT, ["batch", 3])],
        ["y"],
    )
    path = small_models.save(model, tmp_path / "model.onnx")
    imported = import_model(path, {"a": (4, 3)}, tmp_path)
    assert [spec.shape for spec in imported.inputs] == [(4, 3), (4, 3)]
    assert "dimension batch is 4" in refused(path, tmp_path, {"a": (4, 3), "b": (5, 3)})


def test_import_takes_unknown_dimensions_as_independent_when_all_are_called_question_mark(
    tmp_path: Path,
) -> None:
    path = small_models.save(small_models.convolutional("?", "?"), tmp_path / "model.onnx")
    assert import_model(path, {"x": (1, 3, 6, 9)}, tmp_path).inputs[0].shape == (1, 3, 6, 9)


def test_import_says_which_shape_to_give_when_a_dimension_is_dynamic(tmp_path: Path) -> None:
    text = refused(small_models.convolutional("batch", None), tmp_path)
    assert "input 'x' is [batch, 3, ?, ?]" in text
    assert "--shape x=<batch>,3,<?>,<?>" in text


def test_import_says_the_extent_that_weights_ask_for(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = {"w": small_models.weights(46, 3)}
    inputs = [("x", small_models.FLOAT, ["time", "features"])]
    text = refused(small_models.onnx_model(nodes, inputs, ["y"], weights), tmp_path)
    assert text.endswith("every dimension must be a number: --shape x=<time>,46")


def test_import_names_the_nearest_input_when_a_shape_is_for_an_unknown_one(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Relu", ["input_ids"], ["y"])], [("input_ids", FLOAT, ["n"])], ["y"]
    )
    text = refused(model, tmp_path, {"input_id": (1,)})
    assert "no input 'input_id'; did you mean 'input_ids'?" in text


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 8, 8), "4 dimensions; --shape x=3,8,8 has 3"),
        ((1, 4, 8, 8), "dimension 1 is 3; --shape x=1,4,8,8 makes it 4"),
        ((0, 3, 8, 8), "at least 1"),
    ],
)
def test_import_says_what_does_not_fit_when_a_shape_contradicts_the_model(
    tmp_path: Path, shape: tuple[int, ...], expected: str
) -> None:
    assert expected in refused(small_models.convolutional("N", "S"), tmp_path, {"x": shape})


def test_import_explains_when_the_shapes_make_no_sense_inside_the_model(tmp_path: Path) -> None:
    text = refused(small_models.shape_arithmetic(), tmp_path, {"x": (2, 5, 5)})
    assert "ONNX Runtime refuses it with these shapes" in text


@given(st.lists(st.integers(1, 64), min_size=1, max_size=5), st.data())
@settings(max_examples=50)
def test_fixed_shapes_are_those_asked_for_whatever_was_dynamic(
    shape: list[int], data: st.DataObject
) -> None:
    known = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    dims = [
        extent if static else f"d{index}"
        for index, (extent, static) in enumerate(zip(shape, known, strict=True))
    ]
    model = small_models.onnx_model(
        [helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, dims)], ["y"]
    )
    fix_shapes(model, {"x": tuple(shape)}, Path("model.onnx"))
    found = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in found] == shape


def test_import_lists_every_unsupported_operator_when_there_are_several(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Det", ["m"], ["inner"], name="inside")],
        "then",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, [])],
    )
    other = helper.make_graph(
        [helper.make_node("ReduceMean", ["m"], ["outer"], keepdims=0)],
        "else",
        [],
        [helper.make_tensor_value_info("outer", FLOAT, [])],
    )
    model = small_models.onnx_model(
        [
            helper.make_node("Multinomial", ["x"], ["a"], name="first"),
            helper.make_node("Det", ["m"], ["b"], name="determinant"),
            helper.make_node(
                "If", ["c"], ["d"], name="choice", then_branch=branch, else_branch=other
            ),
        ],
        [("x", FLOAT, [2, 4]), ("m", FLOAT, [3, 3]), ("c", TensorProto.BOOL, [])],
        [("a", TensorProto.INT32, [2, 1]), ("b", FLOAT, []), ("d", FLOAT, [])],
    )
    text = refused(model, tmp_path)
    assert "model.onnx" in text
    assert "Det (nodes 'determinant', 'choice/then/inside')" in text
    assert "Multinomial (node 'first')" in text


@pytest.mark.parametrize("taps", [100, 33])
def test_import_refuses_a_window_larger_than_its_input(tmp_path: Path, taps: int) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="wide")],
        [("x", FLOAT, [1, 1, 32])],
        [("y", FLOAT, [1, 2, 1])],
        {"w": np.ones((2, 1, taps), np.float32)},
    )
    assert f"its output 'y' is [1, 2, {33 - taps}]: its window" in refused(model, tmp_path)


def test_import_names_the_domain_when_an_operator_is_of_a_custom_one(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Relu", ["x"], ["y"], name="mine", domain="com.example")],
        [("x", FLOAT, [2])],
        [("y", FLOAT, [2])],
        domains={"com.example": 1},
    )
    assert "com.example.Relu (node 'mine')" in refused(model, tmp_path)


def test_import_names_the_operator_when_onnx_has_none_of_that_name(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Convolute", ["x"], ["y"], name="typo")],
        [("x", FLOAT, [2])],
        [("y", FLOAT, [2])],
    )
    text = refused(model, tmp_path)
    assert "Convolute" in text
    assert "typo" in text


def test_import_names_the_node_in_our_own_words_when_a_converter_gives_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = small_models.onnx_model(
        [helper.make_node("CumSum", ["x", "n"], ["y"], name="sums")],
        [("x", FLOAT, [1, 4]), ("n", INT64, [])],
        [("y", FLOAT, [1, 4])],
    )
    text = refused(model, tmp_path)
    assert "operator CumSum of node 'sums' is not supported in this form" in text
    assert "its axis depends on the inputs' values" in text
    assert capfd.readouterr() == ("", "")


def test_shapes_of_outputs_may_be_left_out_and_those_of_inputs_not(tmp_path: Path) -> None:
    model = small_models.convolutional()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    imported = import_model(save(model, tmp_path / "model.onnx"), {}, tmp_path)
    assert imported.outputs == (TensorSpec("y", (1, 4), "float32"),)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "input 'x' has no shape, each input needs one" in refused(model, tmp_path)


@pytest.mark.parametrize("what", ["input", "output"])
def test_import_refuses_types_that_numpy_lacks(what: str, tmp_path: Path) -> None:
    narrow = TensorProto.BFLOAT16
    ends = [("x", FLOAT, [4]), ("y", narrow, [4])]
    if what == "input":
        ends = [("x", narrow, [4]), ("y", FLOAT, [4])]
    cast = helper.make_node("Cast", ["x"], ["y"], to=ends[1][1])
    path = save(onnx_model([cast], ends[:1], ends[1:]), tmp_path / "m.onnx")
    name = "x" if what == "input" else "y"
    said = f"{what} '{name}' is bfloat16, expected a type that NumPy has"
    with pytest.raises(InputError, match=said):
        import_model(path, {}, tmp_path)


def test_import_refuses_a_selection_of_boxes(tmp_path: Path) -> None:
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores"], ["y"], name="select")
    inputs = [("boxes", FLOAT, [1, 10, 4]), ("scores", FLOAT, [1, 2, 10])]
    model = onnx_model([node], inputs, [("y", INT64, ["n", 3])])
    assert "NonMaxSuppression of node 'select'" in refused(model, tmp_path)
    assert "how many boxes it selects depends on their values" in refused(model, tmp_path)


def test_import_says_that_a_result_takes_too_much_memory(tmp_path: Path) -> None:
    numbers = {"start": np.array(0), "limit": np.array(10**13), "step": np.array(1)}
    nodes = [
        helper.make_node("Range", [*numbers], ["r"], name="count"),
        helper.make_node("Gather", ["r", "x"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", INT64, [1])], [("y", INT64, [1])], numbers)
    assert "node 'count' is not supported in this form: its output 'r' takes 80" in refused(
        model, tmp_path
    )


def test_import_refuses_when_an_output_shape_depends_on_values(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("NonZero", ["x"], ["y"])],
        [("x", FLOAT, [3, 4])],
        [("y", TensorProto.INT64, [2, "found"])],
    )
    assert "output 'y'" in refused(model, tmp_path)


def test_import_inlines_functions_when_the_model_defines_its_own(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Twice", ["x"], ["y"], domain="local")],
        [("x", FLOAT, [2, 2])],
        [("y", FLOAT, [2, 2])],
        domains={"local": 1},
    )
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    path = small_models.save(model, tmp_path / "model.onnx")
    imported = import_model(path, {}, tmp_path)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, [2 * feeds["x"]])


def test_function_of_another_opset_with_the_same_operators_is_written_out(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Centred", ["x"], ["y"], domain="local")],
        [("x", FLOAT, [2, 3])],
        [("y", FLOAT, [2, 3])],
        domains={"local": 1},
    )
    body = [
        helper.make_node("ReduceMean", ["a"], ["m"], axes=[1]),
        helper.make_node("Sub", ["a", "m"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", 14)]
    model.functions.append(helper.make_function("local", "Centred", ["a"], ["b"], body, opsets))
    assert model.opset_import[0].version != 14
    path = small_models.save(model, tmp_path / "model.onnx")
    imported = import_model(path, {}, tmp_path)
    feeds = small_models.feeds(imported.inputs)
    x = feeds["x"]
    assert_same_numbers(imported, feeds, [x - x.mean(axis=1, keepdims=True)])


def test_functions_keep_the_defaults_of_their_attributes(tmp_path: Path) -> None:
    """Of calls in a branch of a function too."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    inner = helper.make_function(
        "local", "Leaky", ["a"], ["b"], [leaky], opsets,
        attribute_protos=[helper.make_attribute("slope", 0.7)],
    )  # fmt: skip
    branch = helper.make_graph(
        [helper.make_node("Leaky", ["a"], ["branch"], domain="local")],
        "branch",
        [],
        [helper.make_tensor_value_info("branch", FLOAT, None)],
    )
    outer = helper.make_function(
        "local", "Chosen", ["c", "a"], ["b"],
        [helper.make_node("If", ["c"], ["b"], then_branch=branch, else_branch=branch)], opsets,
    )  # fmt: skip
    nodes = [
        helper.make_node("Leaky", ["x"], ["y"], domain="local"),
        helper.make_node("Leaky", ["x"], ["z"], domain="local", slope=0.1),
        helper.make_node("Chosen", ["yes", "x"], ["w"], domain="local"),
    ]
    model = small_models.onnx_model(
        nodes, [("x", FLOAT, [2, 2])],
        [(name, FLOAT, [2, 2]) for name in "yzw"],
        {"yes": np.asarray(True)}, domains={"local": 1},
    )  # fmt: skip
    model.functions.extend([inner, outer])
    imported = import_model(small_models.save(model, tmp_path / "model.onnx"), {}, tmp_path)
    feeds = {"x": np.array([[-1, 2], [-3, 4]], np.float32)}
    by = [np.where(feeds["x"] < 0, slope * feeds["x"], feeds["x"]) for slope in (0.7, 0.1, 0.7)]
    assert_same_numbers(imported, feeds, [each.astype(np.float32) for each in by])


def test_weights_are_inside_the_module_when_the_file_lists_them_as_inputs(tmp_path: Path) -> None:
    model = small_models.convolutional()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    imported = import_model(small_models.save(model, tmp_path / "model.onnx"), {}, tmp_path)
    assert [spec.name for spec in imported.inputs] == ["x"]
    assert len(imported.module["main"].params) == 1


def test_convolution_and_its_normalisation_are_one_when_imported(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["y"]),
        ],
        [("x", FLOAT, [1, 3, 8, 8])],
        ["y"],
        {
            "w": small_models.weights(4, 3, 3, 3),
            "g": np.ones(4, np.float32) * 2,
            "b": np.ones(4, np.float32),
            "m": np.zeros(4, np.float32),
            "v": np.ones(4, np.float32),
        },
    )
    imported = import_model(small_models.save(model, tmp_path / "model.onnx"), {}, tmp_path)
    assert "relax.nn.batch_norm" not in operators_of(imported.module)


# What the file itself may do to its reader.


def with_data(folder: Path) -> bytes:
    """The weights that `save_with_external_data` leaves out, as the file beside the model."""
    (tensor,) = [t for t in small_models.convolutional().graph.initializer if len(t.raw_data) > 512]
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    return tensor.raw_data


def model_with_data_in(location: str, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    model = small_models.convolutional()
    return small_models.save_with_external_data(model, folder / "model.onnx", location)


def test_import_reads_external_data_when_it_lies_beside_the_model(tmp_path: Path) -> None:
    path = model_with_data_in("weights.bin", tmp_path)
    with_data(path.parent)
    imported = import_model(path, {}, tmp_path / "work")
    assert imported.prepared is not None
    feeds = small_models.feeds(imported.inputs)
    whole = small_models.save(small_models.convolutional(), tmp_path / "whole.onnx")
    reference = open_session("onnxruntime", whole, 1).run(feeds)
    prepared = open_session("onnxruntime", imported.prepared, 1)
    np.testing.assert_allclose(prepared.run(feeds)[0], reference[0], rtol=1e-5)
    assert_same_numbers(imported, feeds, reference)


def test_import_refuses_external_data_when_the_path_climbs_out(tmp_path: Path) -> None:
    path = model_with_data_in("../weights.bin", tmp_path)
    with_data(tmp_path)
    text = refused(path, tmp_path)
    assert "tensor 'w'" in text
    assert "../weights.bin" in text


def test_import_refuses_external_data_when_the_path_is_absolute(tmp_path: Path) -> None:
    with_data(tmp_path)
    path = model_with_data_in(str(tmp_path / "weights.bin"), tmp_path)
    assert "tensor 'w'" in refused(path, tmp_path)


def test_import_refuses_external_data_when_a_link_leads_out(tmp_path: Path) -> None:
    path = model_with_data_in("weights.bin", tmp_path)
    with_data(tmp_path)
    (path.parent / "weights.bin").symlink_to(tmp_path / "weights.bin")
    text = refused(path, tmp_path)
    assert "tensor 'w'" in text
    assert "inside the model's folder" in text


def test_import_refuses_external_data_when_it_is_in_a_node_of_a_branch(tmp_path: Path) -> None:
    hidden = TensorProto(name="hidden", data_type=FLOAT, dims=[2])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="../secret")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=hidden)],
        "branch",
        [],
        [helper.make_tensor_value_info("k", FLOAT, [2])],
    )
    model = small_models.onnx_model(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        [("c", TensorProto.BOOL, [])],
        ["y"],
    )
    assert "tensor 'hidden'" in refused(model, tmp_path)


def test_import_says_which_file_is_missing_when_external_data_is_not_there(tmp_path: Path) -> None:
    assert "'weights.bin', which is not there" in refused(
        model_with_data_in("weights.bin", tmp_path), tmp_path
    )


def test_import_refuses_when_external_data_is_too_short(tmp_path: Path) -> None:
    path = model_with_data_in("weights.bin", tmp_path)
    (path.parent / "weights.bin").write_bytes(with_data(tmp_path)[:100])
    assert "not a valid ONNX model" in refused(path, tmp_path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_import_refuses_when_the_file_is_truncated(tmp_path: Path, keep: float) -> None:
    content = small_models.convolutional().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(len(content) * keep)])
    assert "ONNX model" in refused(path, tmp_path)


def test_import_refuses_when_the_file_is_noise(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    assert "expected an ONNX model" in refused(path, tmp_path)


def test_import_refuses_when_the_folder_for_its_work_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    assert "cannot be written" in refused(small_models.convolutional(), tmp_path)


@pytest.mark.parametrize("node", [None, "Identity"])
def test_networks_that_compute_nothing_are_imported(tmp_path: Path, node: str | None) -> None:
    nodes = [helper.make_node(node, ["x"], ["y"])] if node else []
    given = [("x", FLOAT, [2, 3])]
    model = small_models.onnx_model(nodes, given, [("y" if node else "x", FLOAT, [2, 3])])
    imported = import_model(small_models.save(model, tmp_path / "m.onnx"), {}, tmp_path)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, [feeds["x"]])


def test_import_refuses_an_output_that_is_listed_twice(tmp_path: Path) -> None:
    model = small_models.convolutional()
    model.graph.output.append(model.graph.output[0])
    assert "output 'y' is listed twice" in refused(model, tmp_path)


def test_refusal_has_the_next_line_where_the_first_ends_in_a_colon(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["b"], ["y"]), helper.make_node("Relu", ["x"], ["b"])]
    model = small_models.onnx_model(nodes, [("x", FLOAT, [2])], [("y", FLOAT, [2])])
    said = refused(model, tmp_path)
    assert "topologically sorted" in said and not said.endswith(":")


def test_shapes_in_the_metadata_of_a_file_are_not_believed(tmp_path: Path) -> None:
    model = small_models.convolutional()
    helper.set_model_props(model, {INPUT_SHAPES: "no JSON"})
    path = small_models.save(model, tmp_path / "m.onnx")
    found = runnable_model(path, {}, tmp_path / "work")
    assert found.inputs == import_model(path, {}, tmp_path / "other").inputs


def nested(depth: int) -> onnx.ModelProto:
    """A model of functions that each call the next one twice."""
    functions = [
        helper.make_function(
            "own", f"F{at}", ["x"], ["y"],
            [
                helper.make_node(f"F{at + 1}", ["x"], ["t"], domain="own"),
                helper.make_node(f"F{at + 1}", ["t"], ["y"], domain="own"),
            ],
            [helper.make_opsetid("own", 1)],
        )
        for at in range(depth)
    ]  # fmt: skip
    last = [helper.make_node("Neg", ["x"], ["y"])]
    functions.append(
        helper.make_function("own", f"F{depth}", ["x"], ["y"], last, [helper.make_opsetid("", 17)])
    )
    first = [helper.make_node("F0", ["x"], ["y"], domain="own")]
    model = onnx_model(first, [("x", FLOAT, [3])], [("y", FLOAT, [3])], None, 17, {"own": 1})
    model.functions.extend(functions)
    return model


def test_functions_are_counted_before_they_are_written_out(tmp_path: Path) -> None:
    assert import_model(save(nested(3), tmp_path / "few.onnx"), {}, tmp_path).outputs
    with pytest.raises(InputError, match=r"1,099,511,627,776 nodes .* the largest one is 'F0'"):
        import_model(save(nested(40), tmp_path / "many.onnx"), {}, tmp_path)
    with pytest.raises(InputError, match=r"'F\d+' is called 200 functions deep"):
        import_model(save(nested(2000), tmp_path / "deep.onnx"), {}, tmp_path)
    circle = nested(1)
    circle.functions[1].node[0].CopyFrom(helper.make_node("F0", ["x"], ["y"], domain="own"))
    with pytest.raises(InputError, match="function 'F0' calls itself"):
        import_model(save(circle, tmp_path / "circle.onnx"), {}, tmp_path)


def test_tensors_that_no_machine_holds_are_refused(tmp_path: Path) -> None:
    shape = np.array([200_000, 200_000_000])
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], name="vast"),
        helper.make_node("ReduceMax", ["c"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])], {"s": shape})
    said = r"node 'vast' .* takes 160,000 GB, over half of this machine's \d+"
    with pytest.raises(InputError, match=said):
        import_model(save(model, tmp_path / "vast.onnx"), {}, tmp_path)
    model = onnx_model([helper.make_node("Neg", ["x"], ["y"])], [("x", FLOAT, [2**62, 8])], ["y"])
    with pytest.raises(InputError, match="input 'x' takes"):
        import_model(save(model, tmp_path / "input.onnx"), {}, tmp_path)


def test_opset_of_the_future_is_refused(tmp_path: Path) -> None:
    model = small_models.convolutional()
    model.opset_import[0].version = 99
    assert "is of opset 99, expected at most" in refused(model, tmp_path)


def test_model_without_an_opset_is_refused_for_that(tmp_path: Path) -> None:
    model = convolutional()
    del model.opset_import[:]
    with pytest.raises(InputError, match="one that names no opset"):
        import_model(save(model, tmp_path / "m.onnx"), {}, tmp_path)


def test_largest_elements_are_sorted_where_any_order_would_do(tmp_path: Path) -> None:
    step = helper.make_node("TopK", ["x", "k"], ["y", "i"], sorted=0)
    model = onnx_model(
        [step], [("x", FLOAT, [9])], [("y", FLOAT, [3]), ("i", INT64, [3])], {"k": np.array([3])}
    )
    imported = import_model(save(model, tmp_path / "m.onnx"), {}, tmp_path)
    assert imported.prepared is not None
    x = np.random.default_rng(0).normal(size=9).astype(np.float32)
    session = onnxruntime.InferenceSession(imported.prepared)
    assert list(session.run(None, {"x": x})[0]) == sorted(x)[:-4:-1]
