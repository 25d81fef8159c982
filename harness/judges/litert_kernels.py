"""Runs a TFLite network with each set of kernels that LiteRT has, and again with its inputs moved
within the rounding of their floats.

No evaluation of a quantized network is more exact than another: differences among its kernels are
nobody's error, nor are those that the last bit of an input decides. The first set is the one
written to be read.
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

_SETS = (
    OpResolverType.BUILTIN_REF,
    OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    OpResolverType.AUTO,
)


_LAST_BITS = np.float32(2**-22)


class LiteRtKernels:
    """A TFLite model in several interpreters."""

    def __init__(self, path: Path) -> None:
        self._interpreters = []
        for kernels in _SETS:
            try:
                interpreter = Interpreter(
                    model_path=str(path),
                    experimental_op_resolver_type=kernels,
                    num_threads=1,
                )
                interpreter.allocate_tensors()
            except Exception as error:
                # LiteRT raises ValueError or RuntimeError, for an operator that a set lacks too.
                raise CannotJudge(f"LiteRT's {kernels.name}: {first_line(error)}") from error
            self._interpreters.append(interpreter)

    def outcomes(self, feeds: Feeds) -> Iterator[list[np.ndarray]]:
        for interpreter in self._interpreters:
            interpreter.reset_all_variables()
            yield self._once(interpreter, feeds)
        if any(array.dtype == np.float32 for array in feeds.values()):
            self._interpreters[0].reset_all_variables()
            yield self._once(self._interpreters[0], _moved(feeds))

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


def _moved(feeds: Feeds) -> Feeds:
    """Floats with another last bit or two."""
    generator = np.random.default_rng(1)
    return {
        name: array * (1 + _LAST_BITS * generator.uniform(-1, 1, array.shape).astype(np.float32))
        if array.dtype == np.float32
        else array
        for name, array in feeds.items()
    }
