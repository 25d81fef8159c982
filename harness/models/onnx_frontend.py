"""ONNX to Relax."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from harness.errors import InputError
from harness.lean_import import lean_import
from harness.models.foreign_errors import first_line
from harness.models.imported import Imported, output_specs
from harness.models.onnx_file import STANDARD_DOMAINS, check_onnx, load_onnx, walk_nodes
from harness.models.onnx_shapes import (
    PREPARED,
    Shapes,
    fix_shapes,
    fold,
    graph_inputs,
    write_model,
)
from harness.models.tensors import TensorSpec
from harness.tvm_api import tvm

with lean_import():
    from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter, _get_convert_map

# TVM looks operators up by name alone. Of ONNX Runtime's own operators it converts a few; in any
# other domain a name may mean anything.
_RUNTIME_DOMAIN = "com.microsoft"
# Not in the map of converters, yet converted.
_CONVERTED_BY_IMPORTER = frozenset({"If", "Constant"})


def import_onnx(path: Path, shapes: Shapes, work: Path) -> Imported:
    """Import an ONNX file; the static model it was made from is written to `work/prepared.onnx`.

    Raises InputError for a file that is not a valid ONNX model, dimensions that are not fixed, and
    operators that are not supported, all of them named with their nodes.
    """
    model = load_onnx(path)
    _refuse_operators(_unknown(model), path)
    check_onnx(model, path)
    fix_shapes(model, shapes, path)
    model = fold(model, path)
    _refuse_operators(_not_converted(model), path)
    inputs = tuple(_input_spec(value, path) for value in graph_inputs(model.graph))
    module = _convert(model, path)
    outputs = output_specs(module, [value.name for value in model.graph.output], path)
    prepared = work / PREPARED
    write_model(model, prepared)
    return Imported(module, inputs, outputs, prepared)


class _Importer(ONNXGraphImporter):  # type: ignore[misc]
    """TVM's importer, which says on which node it failed."""

    def _convert_operator(
        self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> Any:
        try:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        except Exception as error:
            node = attrs["tvm_custom"]["name"]
            raise _ConversionError(
                f"operator {op_name} of node '{node}' is not supported in this form: "
                f"{first_line(error)}"
            ) from error


class _ConversionError(Exception):
    pass


def _convert(model: onnx.ModelProto, path: Path) -> tvm.IRModule:
    opset = next(o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS)
    for node in walk_nodes(model.graph):
        node.name = node.name or _label(node)
    # Names stay as they are in the file: they are what a user's feeds are called.
    importer = _Importer({}, "float32", keep_params_in_input=False, sanitize=False)
    # The importer prints the arguments of a node that fails.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            return importer.from_onnx(model.graph, opset)
        except _ConversionError as error:
            raise InputError(f"{path}: {error}") from error
        except Exception as error:
            raise InputError(f"{path}: TVM cannot import it: {first_line(error)}") from error


def _unknown(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for node in walk_nodes(model.graph):
        if node.domain in STANDARD_DOMAINS:
            known = onnx.defs.has(node.op_type)
        else:
            known = node.domain == _RUNTIME_DOMAIN
        if not known:
            yield node


def _not_converted(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    converted = _get_convert_map().keys() | _CONVERTED_BY_IMPORTER
    return (node for node in walk_nodes(model.graph) if node.op_type not in converted)


def _refuse_operators(nodes: Iterator[onnx.NodeProto], path: Path) -> None:
    by_operator: dict[str, list[str]] = {}
    for node in nodes:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        by_operator.setdefault(operator, []).append(node.name or _label(node))
    if by_operator:
        found = "; ".join(
            f"{operator} (node{'s' if len(names) > 1 else ''} {_listed(names)})"
            for operator, names in sorted(by_operator.items())
        )
        raise InputError(f"{path}: operators that TVM cannot import: {found}")


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _label(node: onnx.NodeProto) -> str:
    """A name for a node that has none: what it computes."""
    return f"{node.op_type} → {next(iter(node.output), '?')}"


def _input_spec(value: onnx.ValueInfoProto, path: Path) -> TensorSpec:
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.STRING:
        raise InputError(f"{path}: input '{value.name}' holds text, expected numbers")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(value.name, tuple(d.dim_value for d in tensor.shape.dim), str(dtype))
