"""ONNX Runtime on the CPU: the reference for ONNX models, and the baseline to beat."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime

from harness.baselines.base import Feeds, checked, require_numbers
from harness.errors import InputError
from harness.models.formats import INPUT_SHAPES
from harness.models.tensors import TensorSpec

# Where ONNX Runtime's name of an element type is not NumPy's.
_DTYPES = {"float": "float32", "double": "float64"}


class OnnxRuntimeSession:
    """An ONNX model in ONNX Runtime, all graph optimisations on, one operator at a time. It is
    static, or has the shapes it is fed in its metadata."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        properties = self._session.get_modelmeta().custom_metadata_map
        fed = json.loads(properties.get(INPUT_SHAPES, "{}"))
        self.inputs = tuple(
            _spec(value, fed.get(value.name, value.shape), path)
            for value in self._session.get_inputs()
        )
        for value in self._session.get_outputs():
            require_numbers("output", value.name, _dtype(value), path)

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        arrays = checked(self.inputs, feeds)
        named = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        return cast("list[np.ndarray]", self._session.run(None, named))

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        binding = self._session.io_binding()
        arrays = checked(self.inputs, feeds)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        for spec, value in zip(self.inputs, values, strict=True):
            binding.bind_ortvalue_input(spec.name, value)
        # One run lets ONNX Runtime allocate the outputs; bound again, they are written in place.
        for output in self._session.get_outputs():
            binding.bind_output(output.name)
        self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        binding.clear_binding_outputs()
        for output, value in zip(self._session.get_outputs(), outputs, strict=True):
            binding.bind_ortvalue_output(output.name, value)
        # The binding points into the values; they have to live as long as it does.
        return _Bound(self._session, binding, values)


class _Bound:
    def __init__(
        self, session: onnxruntime.InferenceSession, binding: Any, values: list[Any]
    ) -> None:
        self._run, self._binding, self._values = session.run_with_iobinding, binding, values

    def __call__(self) -> None:
        self._run(self._binding)


def _spec(value: Any, shape: Sequence[Any], path: Path) -> TensorSpec:
    require_numbers("input", value.name, _dtype(value), path)
    if not all(isinstance(extent, int) for extent in shape):
        raise InputError(
            f"{path}: input '{value.name}' is {shape}, expected a model with static shapes"
        )
    return TensorSpec(value.name, tuple(shape), _dtype(value))


def _dtype(value: Any) -> str:
    """NumPy's name of the element type; ONNX Runtime's name for a value that is no tensor."""
    tensor = re.fullmatch(r"tensor\((\w+)\)", value.type)
    return _DTYPES.get(tensor[1], tensor[1]) if tensor else str(value.type)
