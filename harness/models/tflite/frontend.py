"""TFLite to Relax."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.models.imported import Imported, Node, output_specs, require_shapes
from harness.models.tensors import TensorSpec
from harness.models.tflite.shapes import DAMAGED, static_file, tensor_name
from harness.models.tflite.state import explicit_state, unkept_tensors

_FLOATS = ("float16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMBERS = ("bool", *_FLOATS, *_INTEGERS)


def import_tflite(path: Path, shapes: Mapping[str, tuple[int, ...]], work: Path) -> Imported:
    """Import a `.tflite` file, in floats or fully quantized to integers. Where its converter left
    dimensions free, the static model that is imported is written to `work/prepared.tflite`.

    State in variables becomes inputs and outputs, in `work/prepared.tflite` too; state that an
    operator keeps in tensors is that of the first inference. Raises InputError as `static_file` and
    `explicit_state` do, when the file is damaged, and for operators that are not supported, named
    with their outputs.
    """
    static, state = explicit_state(static_file(path, shapes, work), work)
    import tflite

    from harness.compiler.tflite_frontend import from_tflite
    from harness.models.tflite.constants import computed_constants
    from harness.models.tflite.converter import converter

    content = static.read_bytes()
    try:
        model = tflite.Model.GetRootAsModel(content, 0)
        graph = model.Subgraphs(0)
        inputs = tuple(_spec(graph, index, path) for index in graph.InputsAsNumpy())
        outputs = [tensor_name(graph.Tensors(index), index) for index in graph.OutputsAsNumpy()]
        unkept = unkept_tensors(model)
    except DAMAGED:
        raise InputError(f"{path}: a damaged or truncated TFLite model") from None
    require_shapes(shapes, inputs, path)
    try:
        converted: dict[str, Node] = {}
        computed = computed_constants(content)
        module = from_tflite(model, op_converter=converter(path, computed, converted))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: TVM's importer fails on this model, though it knows each of its operators"
        ) from error
    prepared = None if static == path else static
    specs = output_specs(module, outputs, path)
    return Imported(module, inputs, specs, prepared, converted, state, unkept)


def _spec(graph: Any, index: int, path: Path) -> TensorSpec:
    import tflite

    dtypes = {getattr(tflite.TensorType, dtype.upper()): dtype for dtype in _NUMBERS}
    tensor = graph.Tensors(index)
    name = tensor_name(tensor, index)
    if tensor.Type() not in dtypes:
        raise InputError(f"{path}: input '{name}' holds no plain numbers (type {tensor.Type()})")
    shape = tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength()))
    return TensorSpec(name, shape, dtypes[tensor.Type()])
