"""Sparse initializers, as dense ones: TVM's converters and ours know no others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from harness.errors import InputError
from harness.models.onnx.file import MAX_MODEL_BYTES


def with_dense_initializers(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model without sparse initializers; the same one where there are none. Raises
    InputError for one that would not fit into a model."""
    if not model.graph.sparse_initializer:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for sparse in model.graph.sparse_initializer:
        values = numpy_helper.to_array(sparse.values)
        if math.prod(sparse.dims) * values.itemsize > MAX_MODEL_BYTES:
            raise InputError(
                f"{path}: sparse initializer '{sparse.values.name}' has {list(sparse.dims)} "
                f"elements, expected at most {MAX_MODEL_BYTES / 1e9:.1f} GB of them"
            )
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        places = numpy_helper.to_array(sparse.indices)
        # One number is a place in the flat array, several are one for each axis.
        dense[np.unravel_index(places, dense.shape) if places.ndim == 1 else tuple(places.T)] = (
            values
        )
        result.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del result.graph.sparse_initializer[:]
    return result
