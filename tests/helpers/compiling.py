"""Compiles networks after the graph passes and runs them, to compare their numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_state
from small_models import feeds, save

from harness.compiler.api import UNCHECKED, ArgInfo, lowering_passes, relax, tvm
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.passes.layout import to_channels_last
from harness.specs.sweep import FusionLevel

PLAIN = tvm.target.Target({"kind": "llvm", "num-cores": 2, "opt-level": 1})
"""A processor without vector extensions; LLVM does little for it, and takes less time."""


def imported(model: onnx.ModelProto, folder: Path) -> Imported:
    """An ONNX model as Relax."""
    return import_model(save(model, folder / "model.onnx"), {}, folder)


def reference(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by ONNX Runtime on one thread.

    Sums of products of bytes do not saturate, as they else do on x86 without VNNI. The option for
    that knows no signed data, which never saturate.
    """
    for option in ("1", "0"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", option)
        with contextlib.suppress(onnxruntime_state.NotImplemented):
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return list(session.run(None, dict(values)))
    raise AssertionError("ONNX Runtime has no kernels for this model")


def run_fused(module: tvm.IRModule, values: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a fused network, compiled without tuning for this machine."""
    flow, rest = lowering_passes(PLAIN)
    with PLAIN, tvm.transform.PassContext(opt_level=3, config=UNCHECKED):
        lowered = tvm.transform.Sequential(flow)(module)
        finished = tvm.transform.Sequential(rest)(lowered)
        pipeline = tvm.transform.Sequential([])
        library = relax.build(finished, target=PLAIN, relax_pipeline=pipeline)
    machine = relax.VirtualMachine(library, tvm.cpu())
    found = machine["main"](*[tvm.runtime.tensor(value) for value in values])
    return [found.numpy()] if hasattr(found, "numpy") else [tensor.numpy() for tensor in found]


def run_kernel(module: tvm.IRModule, target: tvm.target.Target, below: int = 1) -> np.ndarray:
    """The output of a kernel for fixed random arguments; integers are less than `below`."""
    random = np.random.default_rng(0)
    arguments = []
    for info in ArgInfo.from_prim_func(module["main"]):
        shape = tuple(map(int, info.shape))
        values = random.normal(size=shape), random.integers(below, size=shape)
        arguments.append(tvm.runtime.tensor(values["int" in str(info.dtype)].astype(info.dtype)))
    tvm.compile(module, target=target).jit()["main"](*arguments)
    found: np.ndarray = arguments[-1].numpy()
    return found


def compiled(
    network: Imported, level: FusionLevel = "full", channels_last: bool = True
) -> tvm.IRModule:
    """A network after all graph passes."""
    module = canonicalise(network.module)
    return fuse(to_channels_last(module) if channels_last else module, level)


def kernel_names(module: tvm.IRModule) -> list[str]:
    """The kernels of a fused network, as often as they are called."""
    return [kernel.name for kernel in kernels(module) for _ in range(kernel.calls)]


def assert_agrees(
    model: onnx.ModelProto, network: Imported, fused: tvm.IRModule, tolerance: float = 1e-4
) -> None:
    """Fails when outputs differ from ONNX Runtime's by more than `tolerance` of their scale."""
    values = feeds(network.inputs)
    found = run_fused(fused, [values[spec.name] for spec in network.inputs])
    expected = reference(model, values)
    assert len(found) == len(expected)
    for output, right in zip(found, expected, strict=True):
        scale = max(1e-3, float(np.abs(right).max()))
        np.testing.assert_allclose(output, right, rtol=0, atol=tolerance * scale)
