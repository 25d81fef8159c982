"""The inputs of an ONNX graph, and their dimensions."""

from __future__ import annotations

import onnx

# Some exporters write this for every dimension they do not know; it names none.
ANONYMOUS = "?"


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs a user feeds: those that are not there just to give a weight a type."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def input_dimensions(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """An input's dimensions in a file, a free one by its name, "" where it has none."""
    return tuple(
        int(each.dim_value) if is_static(each) else each.dim_param.replace(ANONYMOUS, "")
        for each in value.type.tensor_type.shape.dim
    )


def is_static(dimension: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether a dimension is a number. Exporters also write 0 and -1 for one that is not known."""
    return bool(dimension.dim_value > 0)
