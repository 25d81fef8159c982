"""Evaluates single ONNX nodes whose inputs are constants, where ONNX Runtime cannot.

The reference implementation of the `onnx` package runs them, which is NumPy. Results are limited:
a small file may ask for a huge tensor.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from harness.models.onnx.file import STANDARD_DOMAINS
from harness.models.onnx.inference import static_shape

MOST_ELEMENTS = 2**26
"""Of all inputs of a node that is evaluated."""
MOST_MADE = 2**20
"""Of all outputs of a node that has fewer elements in its inputs."""

_SHAPE_ELEMENTS = 1024
"""Inputs of so many elements may be shapes, which inference has to see."""
SHAPED_BY_VALUES = frozenset({"Compress", "NonZero", "Unique"})
"""Operators that give some of their elements, or places of those: which ones, values decide."""
_RANDOM = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial", "Dropout"),
    }
)


def evaluated(
    node: onnx.NodeProto,
    values: Mapping[str, np.ndarray],
    opsets: Iterable[onnx.OperatorSetIdProto],
) -> dict[str, np.ndarray] | None:
    """The outputs of a node by their names; None where an input is not among `values`, a result
    would be too large, or it cannot be evaluated."""
    names = [name for name in node.input if name]
    if node.domain not in STANDARD_DOMAINS or node.op_type in _RANDOM or _has_body(node):
        return None
    if not all(name in values for name in names):
        return None
    given = {name: values[name] for name in names}
    model = _alone(node, given, opsets)
    elements = sum(array.size for array in given.values())
    if elements > MOST_ELEMENTS or _made(model, given) > max(elements, MOST_MADE):
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = ReferenceEvaluator(model).run(None, given)
    except Exception:
        # Its operators raise whatever NumPy does.
        return None
    arrays = [np.asarray(array) for array in found]
    if any(array.dtype.kind not in "biufV" for array in arrays):
        return None  # text, or no tensor
    return dict(zip(filter(None, node.output), arrays, strict=True))


def _has_body(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _alone(
    node: onnx.NodeProto,
    given: Mapping[str, np.ndarray],
    opsets: Iterable[onnx.OperatorSetIdProto],
) -> onnx.ModelProto:
    """A model of one node."""
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in given.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    return helper.make_model(graph, opset_imports=list(opsets))


def _made(model: onnx.ModelProto, given: Mapping[str, np.ndarray]) -> float:
    """How many elements the outputs have, at most; infinitely many where they cannot be
    inferred."""
    if model.graph.node[0].op_type in SHAPED_BY_VALUES:
        most = sum(array.size * max(1, array.ndim) for array in given.values())
        return float(most * len(model.graph.output))
    inferred = onnx.ModelProto()
    inferred.CopyFrom(model)
    inferred.graph.initializer.extend(
        numpy_helper.from_array(array, name)
        for name, array in given.items()
        if array.size <= _SHAPE_ELEMENTS
    )
    try:
        graph = onnx.shape_inference.infer_shapes(inferred, data_prop=True).graph
    except Exception:
        # Several C++ types without a common base.
        return math.inf
    shapes = [static_shape(value.type) for value in graph.output]
    return sum(math.inf if shape is None else math.prod(shape) for shape in shapes)
