"""TFLite to Relax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.models.imported import Imported, Node, output_specs, require_shapes
from harness.models.tensors import TensorSpec
from harness.models.tflite.shapes import DAMAGED, static_file, tensor_name

_STATEFUL = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"})
_FLOATS = ("float16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_SHOWN = 5
"""Outputs of operators of one kind that are named."""
_NUMBERS = ("bool", *_FLOATS, *_INTEGERS)


def import_tflite(path: Path, shapes: Mapping[str, tuple[int, ...]], work: Path) -> Imported:
    """Import a `.tflite` file, in floats or fully quantized to integers. Where its converter left
    dimensions free, the static model that is imported is written to `work/prepared.tflite`.

    Raises InputError as `static_file` does, when the file is damaged, and for operators that are
    not supported, named with their outputs: custom ones, and those with integer weights and float
    inputs (dynamic range quantization).
    """
    static = static_file(path, shapes, work)
    import tflite

    from harness.compiler.tflite_frontend import from_tflite

    content = static.read_bytes()
    try:
        model = tflite.Model.GetRootAsModel(content, 0)
        graph = model.Subgraphs(0)
        _require_names(graph, path)
        inputs = tuple(_spec(graph.Tensors(index), path) for index in graph.InputsAsNumpy())
        outputs = [tensor_name(graph.Tensors(index)) for index in graph.OutputsAsNumpy()]
    except DAMAGED:
        raise InputError(f"{path}: a damaged or truncated TFLite model") from None
    require_shapes(shapes, inputs, path)
    try:
        converted: dict[str, Node] = {}
        module = from_tflite(model, op_converter=_naming_converter(path, converted))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: TVM's importer fails on this model, though it knows each of its operators"
        ) from error
    prepared = None if static == path else static
    return Imported(module, inputs, output_specs(module, outputs, path), prepared, converted)


def _naming_converter(path: Path, converted: dict[str, Node]) -> Any:
    """TVM's converter of operators, which names the operators it refuses and where they are, and
    remembers in `converted` the nodes of variables."""
    import tflite

    from harness.compiler.api import relax, shape_of
    from harness.compiler.tflite_frontend import OperatorConverter

    def _adjoint(matrices: relax.Expr) -> relax.Expr:
        *batch, rows, columns = range(len(shape_of(matrices)))
        return relax.op.permute_dims(matrices, [*batch, columns, rows])

    class NamingConverter(OperatorConverter):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            for name, converter in list(self.convert_map.items()):
                self.convert_map[name] = partial(self._convert, name, converter)

        def _convert(self, name: str, converter: Callable[..., Any], op: Any) -> Any:
            try:
                result = converter(op=op)
            except Exception as error:
                output = _output_name(self.subgraph, op)
                inputs = ", ".join(map(_type_text, self.get_input_tensors(op)))
                raise InputError(
                    f"{path}: operator {name} of '{output}' is not supported in this form: TVM's "
                    f"converter fails for ({inputs})"
                ) from error
            if isinstance(result, relax.Call):
                result = self.bb.emit(result)
                output = _output_name(self.subgraph, op)
                node = Node(name, output, output.partition(";")[0])
                converted.setdefault(str(result.name), node)
            return result

        def convert_expand_dims(self, op: Any) -> Any:
            """TVM's own passes an argument that its operator does not have."""
            data, axis = self.get_input_tensors(op)
            place = int(np.ravel(self.get_tensor_value(axis))[0])
            return relax.op.expand_dims(self.get_tensor_expr(data), place)

        def convert_batch_matmul(self, op: Any) -> Any:
            """TVM's own fails where the two have batches of different ranks."""
            if self.is_quantized(op):
                return super().convert_batch_matmul(op)
            options, table = tflite.BatchMatMulOptions(), op.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
            left, right = map(self.get_tensor_expr, self.get_input_tensors(op))
            left = _adjoint(left) if options.AdjX() else left
            return relax.op.matmul(left, _adjoint(right) if options.AdjY() else right)

        def check_unsupported_ops(self) -> None:
            operators = map(self.subgraph.Operators, range(self.subgraph.OperatorsLength()))
            refused = [
                (self.get_op_code_str(operator), _output_name(self.subgraph, operator), reason)
                for operator in operators
                if (reason := self._refusal(operator))
            ]
            if refused:
                raise InputError(f"{path}: operators that TVM cannot import: {_listed(refused)}")

        def get_op_code_str(self, operator: Any) -> str:
            """The name of an operator. TVM's own raises for those that TFLite does not define."""
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            if code.BuiltinCode() != tflite.BuiltinOperator.CUSTOM:
                return str(super().get_op_code_str(operator))
            return f"{(code.CustomCode() or b'').decode(errors='replace')} (custom)"

        def _refusal(self, operator: Any) -> str:
            """Why an operator cannot be imported, or the empty text; as TVM's own check decides."""
            name = self.get_op_code_str(operator)
            if name in _STATEFUL:
                return "it keeps state between inferences"
            if name not in self.convert_map:
                return "not supported"
            ins = [t.qnn_params is not None for t in self.get_input_tensors(operator)]
            outs = [t.qnn_params is not None for t in self.get_output_tensors(operator)]
            if any(ins[1:]) and not any(ins[:1]) and not any(outs):
                return (
                    "integer weights with float inputs, which is dynamic range quantization; "
                    "convert the model without it, or with full integer quantization"
                )
            if any(ins + outs) and name not in self._SUPPORTED_QUANTIZED_OPS:
                return "not supported with integers"
            return ""

    return NamingConverter


def _listed(refused: Sequence[tuple[str, str, str]]) -> str:
    """Operators, the outputs of some of each, and why they are refused."""
    outputs: dict[tuple[str, str], list[str]] = {}
    for name, output, why in refused:
        outputs.setdefault((name, why), []).append(f"'{output}'")
    return "; ".join(
        f"{name} → {', '.join(found[:_SHOWN])}"
        + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        + f" ({why})"
        for (name, why), found in outputs.items()
    )


def _require_names(graph: Any, path: Path) -> None:
    for at in range(graph.TensorsLength()):
        if graph.Tensors(at).Name() is None:
            raise InputError(
                f"{path}: tensor {at} has no name, which TVM's importer needs; convert the model "
                "again, with names"
            )


def _type_text(wrapped: Any) -> str:
    import tflite

    names = {value: name.lower() for name, value in vars(tflite.TensorType).items()}
    shape = [wrapped.tensor.Shape(axis) for axis in range(wrapped.tensor.ShapeLength())]
    return f"{names.get(wrapped.tensor.Type(), '?')}{shape}"


def _output_name(graph: Any, operator: Any) -> str:
    return tensor_name(graph.Tensors(operator.Outputs(0))) if operator.OutputsLength() else "?"


def _spec(tensor: Any, path: Path) -> TensorSpec:
    import tflite

    dtypes = {getattr(tflite.TensorType, dtype.upper()): dtype for dtype in _NUMBERS}
    name = tensor_name(tensor)
    if tensor.Type() not in dtypes:
        raise InputError(f"{path}: input '{name}' holds no plain numbers (type {tensor.Type()})")
    shape = tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
    return TensorSpec(name, shape, dtypes[tensor.Type()])
