"""OpenVINO on the CPU, set for the latency of one inference in 32-bit floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import openvino

from harness.baselines.base import Feeds, checked
from harness.errors import CellFailure
from harness.models.tensors import TensorSpec


class OpenVinoSession:
    """A static model compiled by OpenVINO for the CPU.

    OpenVINO would pick 16-bit floats where the CPU has them; the inference precision is held at
    32 bits, so that its latency is for the same arithmetic as the others'.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            compiled = openvino.Core().compile_model(
                str(path),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": "f32",
                    "INFERENCE_NUM_THREADS": threads,
                },
            )
        except RuntimeError as error:
            raise CellFailure(f"openvino cannot load {path}: {_reason(error)}") from error
        self._request = compiled.create_infer_request()
        self._outputs = range(len(compiled.outputs))
        self.inputs = tuple(
            TensorSpec(
                port.get_any_name(),
                tuple(int(extent) for extent in port.shape),
                np.dtype(port.element_type.to_dtype()).name,
            )
            for port in compiled.inputs
        )

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        self.bind(feeds)()
        return [np.array(self._request.get_output_tensor(index).data) for index in self._outputs]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        for index, array in enumerate(checked(self.inputs, feeds)):
            self._request.set_input_tensor(index, openvino.Tensor(array))
        return cast("Callable[[], object]", self._request.infer)


def _reason(error: RuntimeError) -> str:
    """The text of an OpenVINO error, without the headings and the places in its source."""
    lines = (line.strip().removeprefix("-- ") for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not line.endswith(":"))
