"""The batch of a file that leaves it free."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper
from small_models import FLOAT, Value, convolutional, onnx_model, save, save_free_tflite, save_torch

from harness.errors import InputError
from harness.models.batch import with_batch, with_single_sample
from harness.models.frontends import import_model


@pytest.mark.parametrize("batch", ["n", None])
def test_free_first_dimension_becomes_the_batch(tmp_path: Path, batch: str | None) -> None:
    path = save(convolutional(batch=batch), tmp_path / "net.onnx")
    shapes = with_batch(path, "onnx", {}, 5)
    assert shapes == {"x": (5, 3, 8, 8)}
    (found,) = import_model(path, shapes, tmp_path).inputs
    assert found.shape == (5, 3, 8, 8)


def test_batch_replaces_the_first_extent_of_given_shapes(tmp_path: Path) -> None:
    path = save(convolutional(batch="n", side="s"), tmp_path / "net.onnx")
    assert with_batch(path, "onnx", {"x": (1, 3, 8, 8)}, 2) == {"x": (2, 3, 8, 8)}


def test_other_free_dimensions_are_left_to_be_asked_for(tmp_path: Path) -> None:
    path = save(convolutional(batch="n", side="s"), tmp_path / "net.onnx")
    assert with_batch(path, "onnx", {}, 2) == {}


def test_dimensions_are_settled_by_the_shape_of_another_input(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["a", "b"], ["sum"])
    inputs = [("a", FLOAT, ("n", "s")), ("b", FLOAT, ("n", "s"))]
    path = save(onnx_model([add], inputs, ["sum"], {}), tmp_path / "net.onnx")
    found = with_batch(path, "onnx", {"a": (1, 7)}, 4)
    assert found == {"a": (4, 7), "b": (4, 7)}


def test_contradicted_dimension_of_one_input_leaves_the_others(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["a"], ["p"]), helper.make_node("Relu", ["b"], ["q"])]
    inputs = [("a", FLOAT, ("n", 8)), ("b", FLOAT, ("n", 8))]
    path = save(onnx_model(nodes, inputs, ["p", "q"], {}), tmp_path / "net.onnx")
    found = with_batch(path, "onnx", {"a": (1, 9)}, 4)
    assert found["b"] == (4, 8)
    with pytest.raises(InputError, match=r"input 'a' .* dimension 1 is 8; --shape a=4,9"):
        import_model(path, found, tmp_path)


def test_fixed_batch_is_taken_where_it_is_the_same(tmp_path: Path) -> None:
    path = save(convolutional(batch=4), tmp_path / "net.onnx")
    assert with_batch(path, "onnx", {}, 4) == {}
    with pytest.raises(InputError, match=r"is \[4, 3, 8, 8\]: expected a model with a free"):
        with_batch(path, "onnx", {}, 8)


@pytest.mark.slow
def test_exported_programs_have_a_fixed_batch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = save_torch(tmp_path / "net.pt2")
    with pytest.raises(InputError, match="batch 7 is asked for"):
        with_batch(path, "torch", {}, 7)


def test_signature_of_a_tflite_file_leaves_the_batch_free(tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    path = save_free_tflite(tmp_path / "net.tflite")
    assert with_batch(path, "tflite", {}, 4) == {}, "its length is free, too"
    shapes = with_batch(path, "tflite", {"x": (1, 5, 3)}, 4)
    assert shapes == {"x": (4, 5, 3)}
    found = import_model(path, shapes, tmp_path)
    assert [spec.shape for spec in found.outputs] == [(4, 5, 2), (4, 2)]


def shapes_for_one_sample(
    folder: Path, inputs: list[Value], given: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    nodes = [helper.make_node("Relu", [name], [f"{name}2"]) for name, _, _ in inputs]
    model = onnx_model(nodes, inputs, [f"{name}2" for name, _, _ in inputs], {})
    return with_single_sample(save(model, folder / "net.onnx"), "onnx", given)


def test_free_batch_alone_is_one(tmp_path: Path) -> None:
    inputs = [("a", FLOAT, ("n", 3)), ("b", FLOAT, (None, 5)), ("c", FLOAT, (2, 2))]
    assert shapes_for_one_sample(tmp_path, inputs, {}) == {"a": (1, 3), "b": (1, 5)}


def test_free_dimension_that_is_no_batch_is_left_to_be_asked_for(tmp_path: Path) -> None:
    inputs = [
        ("length", FLOAT, ("samples",)),
        ("both", FLOAT, ("n", "s")),
        ("first", FLOAT, ("time", 4)),
        ("second", FLOAT, (2, "time")),
    ]
    assert shapes_for_one_sample(tmp_path, inputs, {}) == {}


def test_batch_that_a_given_shape_settles_is_left_to_the_import(tmp_path: Path) -> None:
    inputs = [("a", FLOAT, ("n", 3)), ("b", FLOAT, ("n", 5))]
    assert shapes_for_one_sample(tmp_path, inputs, {"a": (4, 3)}) == {"a": (4, 3)}
