"""Sparse initializers and constants, as dense ones: TVM's converters and ours know no others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from harness.errors import InputError
from harness.models.onnx.file import MAX_MODEL_BYTES, STANDARD_DOMAINS, walk_nodes


def with_dense_initializers(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model without sparse initializers and constants; the same one where there are none.
    Raises InputError for one that would not fit into a model."""
    if not model.graph.sparse_initializer and not any(_sparse_values(model)):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for sparse in result.graph.sparse_initializer:
        dense = _dense(sparse, f"sparse initializer '{sparse.values.name}'", path)
        result.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del result.graph.sparse_initializer[:]
    for node, sparse in _sparse_values(result):
        dense = _dense(sparse, f"the sparse values of constant '{node.output[0]}'", path)
        tensor = numpy_helper.from_array(dense, node.output[0])
        node.attribute[0].CopyFrom(onnx.helper.make_attribute("value", tensor))
    return result


def _sparse_values(
    model: onnx.ModelProto,
) -> Iterator[tuple[onnx.NodeProto, onnx.SparseTensorProto]]:
    for node in walk_nodes(model.graph):
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            for attribute in node.attribute:
                if attribute.name == "sparse_value":
                    yield node, attribute.sparse_tensor


def _dense(sparse: onnx.SparseTensorProto, named: str, path: Path) -> np.ndarray:
    values = numpy_helper.to_array(sparse.values)
    if math.prod(sparse.dims) * values.itemsize > MAX_MODEL_BYTES:
        raise InputError(
            f"{path}: {named} has {list(sparse.dims)} elements, expected at most "
            f"{MAX_MODEL_BYTES / 1e9:.1f} GB of them"
        )
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    places = numpy_helper.to_array(sparse.indices)
    # One number is a place in the flat array, several are one for each axis.
    dense[np.unravel_index(places, dense.shape) if places.ndim == 1 else tuple(places.T)] = values
    return dense
