"""Checks that the static model that was written of an ONNX file computes what the file does.

Engines, the reference among them, run the static model: what its writing changes, verification
would not see. ONNX Runtime runs both here, the file itself without any optimisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from harness.errors import InputError
from harness.models.tensors import TensorSpec

_LARGEST_ERROR = 0.05
"""Of the size of an output, as a root mean square. What is written otherwise rounds otherwise, by
steps in quantized networks; a wrong operator is farther off."""
_OTHER_INTEGERS, _FEW_INTEGERS = 0.1, 10
"""The share of an output's wide integers that rounding may change; all of a few, as the index of a
largest score between equal ones."""


def require_faithful(path: Path, static: Path, inputs: Sequence[TensorSpec]) -> None:
    """Raises InputError where the outputs differ for some random inputs, floats of normal
    distribution and integers of 0 or 1. A file that ONNX Runtime does not run cannot be compared.
    """
    generator = np.random.default_rng(0)
    try:
        feeds = {spec.name: _drawn(generator, spec) for spec in inputs}
        right, found = _outputs(path, feeds), _outputs(static, feeds)
    except Exception:
        # ONNX Runtime's errors are several C++ types without a common base. It takes no bfloat16.
        return
    for name, expected in right.items():
        if name in found and not _same(found[name], expected):
            raise InputError(
                f"{path}: its static form, which engines run, gives another output '{name}' than "
                "the file itself; this is a defect of LayerEdge, please report it with the file"
            )


def _outputs(path: Path, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    values = session.run(None, dict(feeds))
    names = [output.name for output in session.get_outputs()]
    return {
        name: value
        for name, value in zip(names, values, strict=True)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


def _drawn(generator: np.random.Generator, spec: TensorSpec) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iub":
        return generator.integers(0, 2, spec.shape).astype(dtype)
    return generator.standard_normal(spec.shape).astype(dtype)


def _same(found: np.ndarray, right: np.ndarray) -> bool:
    """Whether two outputs are equal but for rounding, or have the same numbers in another order, as
    the largest elements may have where the file leaves it open."""
    if found.shape != right.shape or found.dtype != right.dtype:
        return False
    return _near(found, right) or _near(np.sort(found, axis=None), np.sort(right, axis=None))


def _near(found: np.ndarray, right: np.ndarray) -> bool:
    if right.dtype.kind != "f" and right.dtype.itemsize > 1:
        few = right.size < _FEW_INTEGERS
        return few or bool((found != right).mean() <= _OTHER_INTEGERS)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(found)):
        return False
    exact, other = right[finite].astype(np.float64), found[finite].astype(np.float64)
    size = np.sqrt(np.square(exact).mean()) if exact.size else 0.0
    return bool(np.sqrt(np.square(exact - other).sum()) <= _LARGEST_ERROR * size * exact.size**0.5)
