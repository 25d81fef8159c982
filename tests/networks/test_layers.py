"""The names of layers, as `exclude` gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from calibrated_networks import convolutions
from onnx import helper
from small_models import FLOAT, onnx_model, save, weights

from harness.errors import InputError
from harness.models.frontends import import_model
from harness.networks.layers import named_layers, weighted_layers_of
from harness.passes.canonicalise import canonicalise


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [("blk[1]*", ["blk[1]/fc"]), ("blk*", ["blk[1]/fc", "blk1/fc"]), ("b*/f?", []), ("*", None)],
)
def test_an_asterisk_stands_for_any_characters_and_brackets_for_themselves(
    pattern: str, matching: list[str] | None, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"], name="blk[1]/fc"),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "b"], ["y"], name="blk1/fc"),
    ]
    constants = {"a": weights(8, 8), "b": weights(8, 8, seed=1)}
    model = onnx_model(nodes, [("x", FLOAT, [2, 8])], ["y"], constants)
    read = import_model(save(model, tmp_path / "net.onnx"), {}, tmp_path)
    module = canonicalise(read.module, read.layer_names)
    if matching == []:
        with pytest.raises(InputError, match="no layer"):
            named_layers((pattern,), module)
        return
    assert list(named_layers((pattern,), module)) == (matching or ["blk[1]/fc", "blk1/fc"])


def test_unknown_layer_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    read = import_model(save(convolutions(), tmp_path / "net.onnx"), {}, tmp_path)
    module = canonicalise(read.module, read.layer_names)
    with pytest.raises(InputError, match=r"no layer 'pp'.*'p'"):
        named_layers(("pp",), module)


def test_layers_of_either_kind_are_in_the_order_of_the_network(tmp_path: Path) -> None:
    read = import_model(save(convolutions(), tmp_path / "net.onnx"), {}, tmp_path)
    module = canonicalise(read.module, read.layer_names)
    assert [(each.name, each.groups) for each in weighted_layers_of(module)] == [
        ("p", 1), ("r", 8), ("s", 1), ("y", 1),
    ]  # fmt: skip
