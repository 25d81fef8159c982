"""LiteRT (TensorFlow Lite) on the CPU: the reference for TFLite models, and their baseline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from harness.baselines.base import Feeds, checked, require_numbers
from harness.models.tensors import TensorSpec
from harness.models.tflite.shapes import detail_name


class LiteRtSession:
    """A TFLite model in LiteRT's interpreter, with the XNNPACK kernels it uses by default.

    `run` gives the outputs of a first inference: tensors that operators keep begin anew. What
    `bind` returns keeps them, as an application does.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        details = self._interpreter.get_input_details()
        found = {"input": details, "output": self._interpreter.get_output_details()}
        for kind, tensors in found.items():
            for detail in tensors:
                dtype = np.dtype(detail["dtype"]).name
                require_numbers(kind, detail_name(detail), dtype, path)
        self._indices = [detail["index"] for detail in details]
        self.inputs = tuple(
            TensorSpec(
                detail_name(detail),
                tuple(int(extent) for extent in detail["shape"]),
                np.dtype(detail["dtype"]).name,
            )
            for detail in details
        )

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        self._interpreter.reset_all_variables()
        self.bind(feeds)()
        # get_tensor copies; the interpreter's own buffers change with the next run.
        return [
            self._interpreter.get_tensor(detail["index"])
            for detail in self._interpreter.get_output_details()
        ]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        for index, array in zip(self._indices, checked(self.inputs, feeds), strict=True):
            self._interpreter.set_tensor(index, array)
        return cast("Callable[[], object]", self._interpreter.invoke)
