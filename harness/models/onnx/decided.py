"""Takes the branches of If that constants choose, before ONNX Runtime reads a model.

Shapes are inferred in every branch, and in one that is not taken they may contradict each other.
ONNX Runtime refuses that, and version 1.32 crashes at some constant conditions in nested branches.
"""

from __future__ import annotations

import onnx

from harness.models.onnx.branches import chosen_branch
from harness.models.onnx.file import STANDARD_DOMAINS
from harness.models.onnx.folding import folded_by_reference
from harness.models.onnx.surroundings import Surroundings


def with_decided_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model in which no condition of an If in the graph itself is constant; the same one
    where none is."""
    while any(map(_chooses, model.graph.node)):
        folded = folded_by_reference(model)
        around, nodes = Surroundings(folded), []
        decided = False
        for node in folded.graph.node:
            constant = _chooses(node) and around.array(node.input[0]) is not None
            nodes += chosen_branch(node, around) if constant else [node]
            decided |= constant
        if not decided:
            break
        del folded.graph.node[:]
        folded.graph.node.extend(nodes)
        folded.graph.initializer.extend(around.added)
        model = folded
    return model


def _chooses(node: onnx.NodeProto) -> bool:
    return node.op_type == "If" and node.domain in STANDARD_DOMAINS
