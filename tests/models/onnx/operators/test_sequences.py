"""Sequences of tensors, whose lengths a file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, network
from small_models import FLOAT

from harness.errors import InputError

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("at", [0, 1, -1, -2])
def test_element_is_counted_from_either_end(at: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("SequenceConstruct", ["x", "n"], ["s"]),
        helper.make_node("SequenceAt", ["s", "at"], ["e"]),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    model = network(nodes, ["y"], {"x": X}, {"at": np.array(at)})
    assert_same(computed(model, {"x": X}, tmp_path), reference(model, {"x": X}))


# What makes the sequence `s` of `x`, `n` and some places.
_MAKING = {
    "insert before the last": "SequenceConstruct(x,n)=a SequenceInsert(a,r,last)=s",
    "insert at a place": "SequenceConstruct(x,n)=a SequenceInsert(a,r,one)=s",
    "insert at the end": "SequenceConstruct(x,n)=a SequenceInsert(a,r)=s",
    "insert behind the last": "SequenceConstruct(x,n)=a SequenceInsert(a,r,two)=s",
    "begin with none": "SequenceEmpty()=a SequenceInsert(a,x)=b SequenceInsert(b,n)=s",
    "erase the last": "SequenceConstruct(x,n,r)=a SequenceErase(a)=s",
    "erase a place": "SequenceConstruct(x,n,r)=a SequenceErase(a,one)=s",
    "erase of parts": "SplitToSequence(x)=a SequenceErase(a,zero)=s",
}
_PLACES = {"zero": 0, "one": 1, "two": 2, "five": 5, "last": -1}


def _nodes(text: str) -> list[onnx.NodeProto]:
    made = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Relu", ["x"], ["r"])]
    for each in text.split():
        call, _, result = each.partition("=")
        operator, _, names = call.rstrip(")").partition("(")
        made.append(helper.make_node(operator, names.split(",") if names else [], [result]))
    return made


@pytest.mark.parametrize("making", _MAKING)
def test_sequences_are_those_of_onnxruntime(making: str, tmp_path: Path) -> None:
    nodes = [
        *_nodes(_MAKING[making]),
        helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
        helper.make_node("SequenceLength", ["s"], ["count"]),
    ]
    places = {name: np.array(at) for name, at in _PLACES.items()}
    model = network(nodes, ["y", "count:int64"], {"x": X}, places)
    assert_same(computed(model, {"x": X}, tmp_path), reference(model, {"x": X}))


@pytest.mark.parametrize("node", ["SequenceInsert(a,r,five)=s", "SequenceErase(a,five)=s"])
def test_places_outside_are_refused(node: str, tmp_path: Path) -> None:
    nodes = _nodes(f"SequenceConstruct(x,n)=a {node}")
    nodes.append(helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0))
    model = network(nodes, [("y", FLOAT, None)], {"x": X}, {"five": np.array(5)})
    with pytest.raises(InputError, match="position 5 of a sequence of 2"):
        computed(model, {"x": X}, tmp_path)


def test_a_sequence_as_output_is_refused(tmp_path: Path) -> None:
    model = network([helper.make_node("Neg", ["x"], ["n"])], ["n"], {"x": X})
    model.graph.node.append(helper.make_node("SplitToSequence", ["n"], ["parts"]))
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output.append(helper.make_value_info("parts", kind))
    with pytest.raises(InputError, match="output 'parts' is a sequence, expected a tensor"):
        computed(model, {"x": X}, tmp_path)
