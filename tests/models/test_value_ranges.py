"""Ids are followed to their tables, and what is looked at for infinities is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from small_models import INT64, onnx_model, save, weights

from harness.models.frontends import import_model
from harness.models.tensors import ValueRange
from harness.models.value_ranges import value_ranges


def test_ids_go_up_to_the_rows_of_their_tables(tmp_path: Path) -> None:
    """`ids` pass a cast, a reshape and an addition of a constant, and reach two tables; `kinds` are
    compared with a range, as an embedding written as a product does; `mask` is neither."""
    model = onnx_model(
        [
            helper.make_node("Cast", ["ids"], ["wide"], to=INT64),
            helper.make_node("Reshape", ["wide", "flat"], ["row"]),
            helper.make_node("Gather", ["words", "row"], ["w"]),
            helper.make_node("Gather", ["few", "row"], ["f"]),
            helper.make_node("Equal", ["kinds", "all"], ["hot"]),
            helper.make_node("Cast", ["hot"], ["h"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["h", "kind"], ["k"]),
            helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["w", "f"], ["wf"]),
            helper.make_node("Add", ["wf", "k"], ["wfk"]),
            helper.make_node("Mul", ["wfk", "m"], ["y"]),
        ],
        [
            ("ids", TensorProto.INT32, [2, 2]),
            ("kinds", INT64, [4, 1]),
            ("mask", INT64, [4, 1]),
        ],
        ["y"],
        {
            "flat": np.array([4]),
            "words": weights(300, 8),
            "few": weights(40, 8),
            "all": np.arange(7),
            "kind": weights(7, 8),
        },
    )
    imported = import_model(save(model, tmp_path / "m.onnx"), {}, tmp_path)
    assert value_ranges(imported) == {"ids": ValueRange(extent=40), "kinds": ValueRange(extent=7)}


def test_networks_that_look_for_infinities_are_known(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Reshape", ["x", "flat"], ["r"]),
            helper.make_node("IsNaN", ["r"], ["odd"]),
            helper.make_node("Where", ["odd", "zero", "r"], ["clean"]),
            helper.make_node("Mul", ["other", "other"], ["square"]),
            helper.make_node("IsNaN", ["square"], ["never"]),
            helper.make_node("Where", ["never", "zero", "clean"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, [2, 2]), ("other", TensorProto.FLOAT, [4])],
        ["y"],
        {"flat": np.array([4]), "zero": np.zeros(4, np.float32)},
    )
    imported = import_model(save(model, tmp_path / "m.onnx"), {}, tmp_path)
    assert value_ranges(imported) == {"x": ValueRange(infinite=True)}


def test_integers_that_divide_are_known(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Reshape", ["by", "flat"], ["r"]),
            helper.make_node("Mod", ["i", "r"], ["m"]),
            helper.make_node("Div", ["m", "r"], ["q"]),
            helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
        ],
        [("i", TensorProto.INT32, [4]), ("by", TensorProto.INT32, [2, 2])],
        ["y"],
        {"flat": np.array([4])},
    )
    imported = import_model(save(model, tmp_path / "m.onnx"), {}, tmp_path)
    assert value_ranges(imported) == {"by": ValueRange(divides=True)}
