"""The inputs of every kernel are recorded as a real inference gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from small_models import FLOAT, convolutional, feeds, onnx_model, save

from harness.compiler.api import ArgInfo, tvm
from harness.files.arrays import read_arrays
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.specs.target import Passes
from harness.tuning.candidates.real_inputs import record_kernel_inputs

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def test_every_kernel_has_its_inputs(tmp_path: Path) -> None:
    imported = import_model(save(convolutional(), tmp_path / "net.onnx"), {}, tmp_path)
    fused = fuse(adapt(canonicalise(imported.module), Passes(), TARGET), "full")
    values = list(feeds(imported.inputs).values())
    found = record_kernel_inputs(fused, TARGET, 2, values, tmp_path / "inputs")
    assert set(found) == {kernel.name for kernel in kernels(fused)}
    for kernel in kernels(fused):
        arrays = list(read_arrays(found[kernel.name])[0].values())
        infos = ArgInfo.from_prim_func(kernel.function)[: -kernel.outputs]
        shapes = [tuple(int(extent) for extent in info.shape) for info in infos]
        assert [array.shape for array in arrays] == shapes
        assert all(np.isfinite(array).all() for array in arrays)


@pytest.mark.slow
def test_name_of_a_kernel_is_no_name_of_a_file(tmp_path: Path) -> None:
    """A kernel is named by all operators in it, and a file's name has 255 bytes at most."""
    steps = ["Sigmoid", "Tanh", "Softplus", "Elu", "Selu", "HardSwish"] * 6
    values = ["x", *(f"v{at}" for at in range(1, len(steps))), "y"]
    nodes = [
        helper.make_node(operator, [values[at]], [values[at + 1]])
        for at, operator in enumerate(steps)
    ]
    path = save(onnx_model(nodes, [("x", FLOAT, [1, 8])], ["y"]), tmp_path / "net.onnx")
    fused = fuse(canonicalise(import_model(path, {}, tmp_path).module), "full")
    (name,) = (kernel.name for kernel in kernels(fused))
    assert len(name) > 255
    values_in = [np.ones((1, 8), np.float32)]
    found = record_kernel_inputs(fused, TARGET, 2, values_in, tmp_path / "inputs")
    assert len(read_arrays(found[name])[0]) == 1
