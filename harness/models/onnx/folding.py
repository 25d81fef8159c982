"""Folds an ONNX model's constants where ONNX Runtime cannot read the model.

ONNX Runtime refuses a model as a whole for one node that it has no kernel for: operators of the
newest opsets, or old ones for rare types.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from harness.models.onnx.evaluation import SHAPED_BY_VALUES, evaluated
from harness.models.onnx.inference import known_shapes
from harness.models.onnx.subgraphs import reads


def folded_by_reference(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model in which nodes of constants are constants, and so are shapes that are known.
    Nothing else is simplified."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    while found := _found(result, values):
        kept = [node for node in result.graph.node if not set(node.output) & found.keys()]
        del result.graph.node[:]
        result.graph.node.extend(kept)
        result.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in found.items()
        )
    used = {value.name for value in result.graph.output}
    used |= {name for node in result.graph.node for name in reads(node)}
    weights = [tensor for tensor in result.graph.initializer if tensor.name in used]
    del result.graph.initializer[:]
    result.graph.initializer.extend(weights)
    return result


def with_known_selections(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model in which `SHAPED_BY_VALUES` of constants are constants, which ONNX Runtime
    leaves; the same one where it has none of those."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {
        at: outputs
        for at, node in enumerate(model.graph.node)
        if node.op_type in SHAPED_BY_VALUES
        and (outputs := evaluated(node, values, model.opset_import)) is not None
    }
    if not found:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [node for at, node in enumerate(model.graph.node) if at not in found]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    result.graph.initializer.extend(
        numpy_helper.from_array(array, name)
        for outputs in found.values()
        for name, array in outputs.items()
    )
    return result


def _found(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The values of nodes that are found to be constant. `values` gets them."""
    shapes = dict(known_shapes(model))
    values |= shapes
    found = dict(shapes)
    for node in model.graph.node:
        if not set(node.output) & shapes.keys():
            outputs = evaluated(node, values, model.opset_import) or {}
            values |= outputs
            found |= outputs
    return found
