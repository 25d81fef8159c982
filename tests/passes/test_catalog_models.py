"""The structure of the catalog's networks after fusion; a sweep checks their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog_fetching import fetched_or_skip

from harness.compiler.api import tvm
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels, summarise
from harness.specs.target import Passes

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
_FETCHED = ["efficientnet-lite0", "ppocr-det", "ppocr-cls", "minilm-l6", "magika", "silero-vad"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "fashion-resnet8",
        "fashion-dscnn",
        *(pytest.param(name, marks=pytest.mark.network) for name in _FETCHED),
    ],
)
def test_catalog_model_has_no_stray_kernel_when_fused(name: str, tmp_path: Path) -> None:
    model = fetched_or_skip(name)
    imported = import_model(model.path, model.shapes, tmp_path)
    canonical = adapt(canonicalise(imported.module), Passes(), TARGET)
    summary = summarise(canonical, fuse(canonical, "full"))
    elementwise = sum(kernel.calls for kernel in kernels(fuse(canonical, "elementwise")))
    assert summary.stray == ()
    assert summary.kernels_after < elementwise < summary.kernels_before
