"""Runs a TFLite network with each set of kernels that LiteRT has.

No evaluation of a quantized network is more exact than another: differences among its kernels are
nobody's error. The first set is the one written to be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.baselines.base import Feeds
from harness.errors import first_line
from harness.judges.base import CannotJudge
from harness.models.tflite.shapes import detail_name
from harness.models.tflite.state import keeps_resources

_SETS = (
    OpResolverType.BUILTIN_REF,
    OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    OpResolverType.AUTO,
)


class LiteRtKernels:
    """A TFLite model in several interpreters."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._interpreters = self._opened()
        self._anew = keeps_resources(path)

    def _opened(self) -> list[Interpreter]:
        found = []
        for kernels in _SETS:
            try:
                interpreter = Interpreter(
                    model_path=str(self._path),
                    experimental_op_resolver_type=kernels,
                    num_threads=1,
                )
                interpreter.allocate_tensors()
            except Exception as error:
                # LiteRT raises ValueError or RuntimeError, for an operator that a set lacks too.
                raise CannotJudge(f"LiteRT's {kernels.name}: {first_line(error)}") from error
            found.append(interpreter)
        return found

    def outcomes(self, feeds: Feeds) -> Iterator[list[np.ndarray]]:
        if self._anew:
            self._interpreters = self._opened()
        for interpreter in self._interpreters:
            interpreter.reset_all_variables()
            yield self._once(interpreter, feeds)

    def _once(self, interpreter: Interpreter, feeds: Feeds) -> list[np.ndarray]:
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], feeds[detail_name(detail)])
        try:
            interpreter.invoke()
        except Exception as error:
            raise CannotJudge(f"LiteRT: {first_line(error)}") from error
        return [
            interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()
        ]
