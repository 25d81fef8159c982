"""The inputs of every kernel are recorded as a real inference gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_models import convolutional, feeds, save

from harness.measure.inputs import read_arrays
from harness.models.imported import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.target_spec import Passes
from harness.tuning.real_inputs import record_kernel_inputs
from harness.tvm_api import ArgInfo, tvm

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
