"""ONNX to Relax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from harness.compiler.api import tvm
from harness.errors import InputError
from harness.files.atomic import write_atomically
from harness.models.imported import Imported, Node, OperatorsRefused, output_specs
from harness.models.onnx.faithful import require_faithful
from harness.models.onnx.file import (
    RUNTIME_DOMAIN,
    check_onnx,
    is_standard,
    label,
    load_onnx,
    operator,
    walk_nodes,
)
from harness.models.onnx.forms import simplest_form
from harness.models.onnx.importer import (
    ConversionError,
    EmptyGraph,
    Importer,
    is_converted,
)
from harness.models.onnx.inference import value_types
from harness.models.onnx.inputs import graph_inputs
from harness.models.onnx.shapes import (
    PREPARED,
    Shapes,
    fix_shapes,
    fold,
)
from harness.models.onnx.sparse import with_dense_initializers
from harness.models.tensors import TensorSpec


def import_onnx(path: Path, shapes: Shapes, work: Path) -> Imported:
    """Import an ONNX file; the static model it was made from is written to `work/prepared.onnx`.

    Raises InputError for a file that is not a valid ONNX model, dimensions that are not fixed, and
    operators that are not supported, all of them named with their nodes; and where the static model
    does not compute what the file does.
    """
    model = load_onnx(path)
    _refuse_operators(_unknown(model), path)
    check_onnx(model, path)
    _refuse_sequences(model, path)
    model = with_dense_initializers(model, path)
    fix_shapes(model, shapes, path)
    model = fold(model, path)
    inputs = tuple(_input_spec(value, path) for value in graph_inputs(model.graph))
    for value in model.graph.output:
        if value.type.tensor_type.elem_type != onnx.TensorProto.UNDEFINED:
            _dtype(value, "output", path)
    for spec in inputs:
        if excess := spec.excess:
            raise InputError(f"{path}: input '{spec.name}' takes {excess}")
    module, nodes = _convert(model, path)
    outputs = output_specs(module, [value.name for value in model.graph.output], path)
    prepared = work / PREPARED
    write_atomically(prepared, model.SerializeToString())
    require_faithful(path, prepared, inputs)
    return Imported(module, inputs, outputs, prepared, nodes)


def _convert(model: onnx.ModelProto, path: Path) -> tuple[tvm.IRModule, Mapping[str, Node]]:
    """A static model in Relax, and the node of each variable."""
    model = simplest_form(model, path)
    _refuse_operators(_not_converted(model), path)
    importer = Importer(model, value_types(model))
    try:
        return importer.module(), importer.converted
    except ConversionError as error:
        raise OperatorsRefused.form(path, error.node, str(error)) from error
    except EmptyGraph as error:
        raise InputError(f"{path}: a graph without nodes computes nothing") from error


def _unknown(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for node in walk_nodes(model.graph):
        # ONNX Runtime has operators of its own in ONNX's domain, too.
        if not (is_standard(node) or is_converted(node) or node.domain == RUNTIME_DOMAIN):
            yield node


def _not_converted(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    return (node for node in walk_nodes(model.graph) if not is_converted(node))


def _refuse_sequences(model: onnx.ModelProto, path: Path) -> None:
    for value in model.graph.output:
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise InputError(
                f"{path}: output '{value.name}' is a {str(kind).removesuffix('_type')}, expected a "
                "tensor"
            )


def _refuse_operators(nodes: Iterator[onnx.NodeProto], path: Path) -> None:
    by_operator: dict[str, list[str]] = {}
    for node in nodes:
        by_operator.setdefault(operator(node), []).append(label(node))
    if by_operator:
        found = "; ".join(
            f"{name} (node{'s' if len(names) > 1 else ''} {_listed(names)})"
            for name, names in sorted(by_operator.items())
        )
        text = f"{path}: operators that TVM cannot import: {found}"
        raise OperatorsRefused(text, by_operator)


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _input_spec(value: onnx.ValueInfoProto, path: Path) -> TensorSpec:
    extents = tuple(each.dim_value for each in value.type.tensor_type.shape.dim)
    return TensorSpec(value.name, extents, str(_dtype(value, "input", path)))


def _dtype(value: onnx.ValueInfoProto, what: str, path: Path) -> np.dtype:
    """The type of an input or output. Raises InputError for one that NumPy lacks."""
    number = value.type.tensor_type.elem_type
    if number == onnx.TensorProto.STRING:
        raise InputError(f"{path}: {what} '{value.name}' holds text, expected numbers")
    dtype: np.dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    if dtype.kind not in "biufc":
        name = onnx.TensorProto.DataType.Name(number).lower()
        raise InputError(f"{path}: {what} '{value.name}' is {name}, expected a type that NumPy has")
    return dtype
