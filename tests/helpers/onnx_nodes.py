"""Models of a few ONNX nodes, and what they compute when compiled."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from compiling import PLAIN
from onnx import TensorProto, helper
from small_models import Value, onnx_model, save

from harness.building.network import machine_of
from harness.compiler.api import target_of, tvm
from harness.hardware import load_target
from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.specs.sweep import FusionLevel

Node = onnx.NodeProto


@cache
def _generator(test: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(test.encode()))


def drawn(*shape: int) -> np.ndarray:
    """Normal numbers, for a test the same whatever ran before it."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]
    random = _generator(test) if test else np.random.default_rng(shape)
    return random.standard_normal(shape).astype(np.float32)


def network(
    nodes: Sequence[Node],
    outputs: Sequence[str | Value],
    feeds: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of a few nodes, its inputs like the arrays that are fed; outputs may have types,
    and need shapes where ONNX infers none."""
    inputs = [
        (name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    values = [_typed(output) if isinstance(output, str) else output for output in outputs]
    domains = {node.domain: 1 for node in nodes if node.domain}
    model = onnx_model(nodes, inputs, values, weights, opset, domains)
    if domains:  # ONNX infers nothing of other domains' operators
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        for value, known in zip(model.graph.output, session.get_outputs(), strict=True):
            value.type.tensor_type.ClearField("shape")
            for extent in known.shape:
                value.type.tensor_type.shape.dim.add(dim_value=extent)
    return model


def _typed(output: str) -> Value:
    name, _, dtype = output.partition(":")
    return name, getattr(TensorProto, dtype.upper() or "FLOAT"), None


def computed(
    model: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    folder: Path,
    level: FusionLevel = "full",
    here: bool = False,
) -> list[np.ndarray]:
    """What a model gives, imported, fused and compiled; with this machine's instructions if `here`,
    and without vector extensions if not."""
    imported = import_model(save(model, folder / "model.onnx"), {}, folder)
    target = target_of(load_target("x86-host").tvm.as_tvm()) if here else PLAIN
    machine = machine_of(fuse(canonicalise(imported.module), level), target, 2)
    found = machine["main"](*[tvm.runtime.tensor(feeds[spec.name]) for spec in imported.inputs])
    arrays = [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]
    for array, spec in zip(arrays, imported.outputs, strict=True):
        assert (array.shape, str(array.dtype)) == (spec.shape, spec.dtype)
    return arrays


def assert_same(found: Sequence[np.ndarray], right: Sequence[Any]) -> None:
    for one, other in zip(found, right, strict=True):
        assert one.dtype == np.asarray(other).dtype
        finite = np.abs(other)[np.isfinite(other)]
        scale = max(1.0, float(finite.max(initial=0)))
        np.testing.assert_allclose(one, other, rtol=3e-5, atol=1e-6 * scale)
