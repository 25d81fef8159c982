"""ONNX Runtime on the CPU: the reference for ONNX models, and the baseline to beat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime

from harness.baselines.base import Feeds, checked
from harness.models.tensors import TensorSpec

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


class OnnxRuntimeSession:
    """A static ONNX model in ONNX Runtime, all graph optimisations on, one operator at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(
            TensorSpec(value.name, tuple(value.shape), _dtype(value.type))
            for value in self._session.get_inputs()
        )

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        arrays = checked(self.inputs, feeds)
        named = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        return cast("list[np.ndarray]", self._session.run(None, named))

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        binding = self._session.io_binding()
        for spec, array in zip(self.inputs, checked(self.inputs, feeds), strict=True):
            # A copy of its own: the caller may reuse the array while the binding lives.
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            binding.bind_ortvalue_input(spec.name, value)
        # One run lets ONNX Runtime allocate the outputs; bound again, they are written in place.
        for output in self._session.get_outputs():
            binding.bind_output(output.name)
        self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        binding.clear_binding_outputs()
        for output, value in zip(self._session.get_outputs(), outputs, strict=True):
            binding.bind_ortvalue_output(output.name, value)
        run = self._session.run_with_iobinding
        return lambda: run(binding)


def _dtype(text: str) -> str:
    """NumPy's name for `tensor(float)` and the like."""
    return _DTYPES.get(text, text.removeprefix("tensor(").removesuffix(")"))
