"""TFLite to Relax: the same numbers as LiteRT, and one clear line for what cannot be imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import small_models
from tvm_runs import assert_same_numbers, run_on_cpu

from harness.baselines.registry import ENGINES, open_session
from harness.errors import InputError
from harness.models.frontends import import_model
from harness.models.tensors import TensorSpec
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.run.runnable import runnable_model

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
pytest.importorskip("ai_edge_litert", reason=REASON)


def refused(path: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> str:
    with pytest.raises(InputError) as error:
        import_model(path, shapes or {}, path.parent)
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("operator", ["RELU6", "LOGISTIC", "HARD_SWISH"])
def test_import_computes_what_litert_does_when_compiled(tmp_path: Path, operator: str) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite", operator=operator)
    imported = import_model(path, {"x": (1, 4, 4, 2)}, tmp_path)
    assert imported.prepared is None
    assert imported.outputs == (TensorSpec("y", (1, 3), "float32"),)
    session = open_session("litert", path, threads=1)
    assert session.inputs == imported.inputs == (TensorSpec("x", (1, 4, 4, 2), "float32"),)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, session.run(feeds))


def test_import_computes_what_litert_does_when_the_model_is_in_integers(tmp_path: Path) -> None:
    path = small_models.save_int8_tflite(tmp_path / "model.tflite")
    imported = import_model(path, {}, tmp_path)
    assert imported.inputs == (TensorSpec("x", (1, 8), "int8"),)
    x = np.random.default_rng(0).integers(-128, 128, (1, 8)).astype(np.int8)
    (expected,) = open_session("litert", path, 1).run({"x": x})
    (found,) = run_on_cpu(imported, {"x": x})
    assert found.dtype == np.int8
    # TVM computes in floats, LiteRT in integers: they may round to neighbours.
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_dynamic_range_quantization_rounds_floats_as_litert_does(tmp_path: Path) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite", weight_type="int8")
    imported = import_model(path, {}, tmp_path)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, open_session("litert", path, 1).run(feeds))


def test_import_names_operator_and_output_when_there_is_no_converter(tmp_path: Path) -> None:
    text = refused(small_models.save_tflite(tmp_path / "model.tflite", operator="LSH_PROJECTION"))
    assert "LSH_PROJECTION → 'activated' (not supported)" in text


def test_import_names_a_custom_operator_by_its_own_name(tmp_path: Path) -> None:
    text = refused(small_models.save_tflite(tmp_path / "model.tflite", operator="CUSTOM"))
    assert "Landmarks (custom) → 'activated' (not supported)" in text


def test_import_names_operator_and_output_when_a_converter_gives_up(tmp_path: Path) -> None:
    # The operator lacks its second input.
    text = refused(small_models.save_tflite(tmp_path / "model.tflite", operator="EXPAND_DIMS"))
    assert text.endswith(
        "operator EXPAND_DIMS of 'activated' is not supported in this form: input 1 is missing"
    )


def test_dimension_is_added_where_the_model_says(tmp_path: Path) -> None:
    imported = import_model(small_models.save_expanded_tflite(tmp_path / "m.tflite"), {}, tmp_path)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, [feeds["x"][:, None]])


def test_tensors_need_no_names(tmp_path: Path) -> None:
    path = small_models.save_expanded_tflite(tmp_path / "model.tflite", named=False)
    imported = import_model(path, {}, tmp_path)
    session = open_session("litert", path, 1)
    assert session.inputs == imported.inputs == (TensorSpec("tensor_0", (2, 3), "float32"),)
    assert [spec.name for spec in imported.outputs] == ["tensor_2"]
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, session.run(feeds))


def test_import_says_convert_again_when_a_shape_is_not_the_one_in_the_file(tmp_path: Path) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite")
    assert "is fixed in the file" in refused(path, {"x": (2, 4, 4, 2)})


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.8])
def test_import_refuses_when_the_file_is_truncated(tmp_path: Path, keep: float) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    refused(path)


FREE = {"x": (2, 5, 3)}


def test_free_dimensions_are_what_the_user_says(tmp_path: Path) -> None:
    path = small_models.save_free_tflite(tmp_path / "model.tflite")
    before = path.read_bytes()
    imported = import_model(path, FREE, tmp_path / "work")
    assert imported.prepared is not None and imported.prepared.parent == tmp_path / "work"
    assert imported.inputs == (TensorSpec("x", (2, 5, 3), "float32"),)
    assert [spec.shape for spec in imported.outputs] == [(2, 5, 2), (2, 2)]
    found = runnable_model(path, FREE, tmp_path / "work")
    assert (found.path, found.inputs) == (imported.prepared, imported.inputs)
    feeds = small_models.feeds(imported.inputs)
    y = feeds["x"] @ small_models.weights(3, 2)
    for engine in ("litert", "openvino"):
        if find_spec(ENGINES[engine].package):
            outputs = open_session(engine, found.path, 1).run(feeds)
            for one, other in zip(outputs, [y, y.sum(1)], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert_same_numbers(imported, feeds, [y, y.sum(1)])
    assert path.read_bytes() == before


@pytest.mark.parametrize("made", [import_model, runnable_model])
@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({}, "input 'x' is [?, ?, 3]; every dimension must be a number: --shape x=<?>,<?>,3"),
        ({"x": (1, 1, 4)}, "input 'x' is [?, ?, 3] in the file, --shape asks for [1, 1, 4]"),
        ({"x": (1, 3)}, "input 'x' is [?, ?, 3] in the file, --shape asks for [1, 3]"),
        ({"x": (1, 0, 3)}, "input 'x' is [?, ?, 3] in the file, --shape asks for [1, 0, 3]"),
        ({"z": (1, 1, 3)}, "no input 'z'"),
    ],
)
def test_free_dimension_is_asked_for(
    tmp_path: Path,
    made: Callable[[Path, Mapping[str, tuple[int, ...]], Path], object],
    shapes: dict[str, tuple[int, ...]],
    text: str,
) -> None:
    path = small_models.save_free_tflite(tmp_path / "model.tflite")
    with pytest.raises(InputError) as error:
        made(path, shapes, tmp_path)
    assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("shapes", [{}, {"x": (1, 4, 4, 2)}])
def test_batch_that_is_free_alone_is_one(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite", free=[0])
    imported = import_model(path, shapes, tmp_path / "work")
    assert [spec.shape for spec in imported.inputs] == [(1, 4, 4, 2)]
    found = runnable_model(path, shapes, tmp_path / "work")
    assert (found.path, found.inputs) == (path, imported.inputs)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, open_session("litert", found.path, 1).run(feeds))


def test_shapes_that_litert_refuses_are_told(tmp_path: Path) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite", free=[1])
    text = refused(path, {"x": (1, 9, 4, 2)})
    assert "LiteRT refuses it with these shapes" in text


def test_shapes_that_two_tensors_share_in_the_file_are_not_guessed(tmp_path: Path) -> None:
    path = small_models.save_sharing_tflite(tmp_path / "model.tflite")
    text = refused(path, {"x": (4, 3)})
    assert "cannot be written into the file; convert the model again" in text


def test_layers_have_the_names_of_their_outputs(tmp_path: Path) -> None:
    path = small_models.save_tflite(tmp_path / "model.tflite", operator="RELU6")
    imported = import_model(path, {"x": (1, 4, 4, 2)}, tmp_path)
    layers = layers_of(canonicalise(imported.module, imported.layer_names))
    assert [layer.name for layer in layers] == ["convolved", "y"]
