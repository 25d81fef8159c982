"""Writes an ONNX model with some inputs as constants: a rate that chooses a branch, a count
that a loop runs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx

from harness.errors import InputError, unknown_name
from harness.files.atomic import write_atomically
from harness.models.onnx.file import check_onnx, load_onnx
from harness.models.onnx.inference import static_shape
from harness.models.onnx.inputs import graph_inputs


def parse_values(texts: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Values from `name=16000` and `name=1,2.5` texts. Raises InputError for anything else."""
    values = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        try:
            given = tuple(_number(number) for number in numbers.split(","))
        except ValueError:
            given = ()
        if not equals or not name or not given:
            raise InputError(f"--value {text}: expected NAME=16000 or NAME=1,2.5")
        values[name] = given
    return values


def write_bound(path: Path, values: Mapping[str, tuple[float, ...]], to: Path) -> None:
    """Write an ONNX file's model to `to`, in one file, with inputs as constants. One number fills
    an input of any shape that is known; several are its elements in order.

    Raises InputError for a file that is not a valid ONNX model, a name that is no input, numbers
    that the input's type does not have, and another number of them than the input has elements.
    """
    model = load_onnx(path)
    check_onnx(model, path)
    inputs = {value.name: value for value in graph_inputs(model.graph)}
    for name, numbers in values.items():
        if name not in inputs:
            raise unknown_name("input", name, inputs)
        array = _array(inputs[name], numbers, path)
        model.graph.input.remove(inputs[name])
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    write_atomically(to, model.SerializeToString())


def _array(value: onnx.ValueInfoProto, numbers: tuple[float, ...], path: Path) -> np.ndarray:
    given = f"--value {value.name}={','.join(map(str, numbers))}"
    shape, element = static_shape(value.type), value.type.tensor_type.elem_type
    if element == onnx.TensorProto.UNDEFINED or element == onnx.TensorProto.STRING:
        raise InputError(f"{path}: input '{value.name}' holds no numbers")
    if shape is None:
        raise InputError(f"{path}: input '{value.name}' has no known shape for {given}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    exact = np.asarray(numbers, object)
    with np.errstate(all="ignore"):
        try:
            array = exact.astype(dtype)
        except (OverflowError, ValueError):
            array = None
    whole = dtype.kind in "biu"
    if array is None or (whole and not np.array_equal(array.astype(object), exact)):
        raise InputError(f"{path}: input '{value.name}' is {dtype}, which does not have {given}")
    count = int(np.prod(shape, dtype=object))
    if array.size not in (1, count):
        raise InputError(
            f"{path}: input '{value.name}' has {count} elements, {given} has {array.size}"
        )
    return np.broadcast_to(array, count).reshape(shape) if array.size == 1 else array.reshape(shape)


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
