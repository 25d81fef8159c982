"""Operators of other packages that ours stand for."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import run_fused

from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")


from harness.models.torch.foreign import grouped_mm  # noqa: E402  (needs PyTorch)


@pytest.mark.slow
def test_experts_of_transformers_are_imported_without_that_package(tmp_path: Path) -> None:
    """An export of transformers, but for the name of the operator, is one of ours."""

    class Experts(torch.nn.Module):  # type: ignore[misc]
        def forward(self, rows: Any, matrices: Any, ends: Any) -> Any:
            return grouped_mm(rows, matrices, ends) + 1

    inputs = torch.randn(5, 3), torch.randn(2, 3, 4), torch.tensor([2, 5])
    torch.export.save(torch.export.export(Experts().eval(), inputs), tmp_path / "ours.pt2")
    path = tmp_path / "experts.pt2"
    with zipfile.ZipFile(tmp_path / "ours.pt2") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("models/model.json"):
                content = content.replace(
                    b"torch.ops.layeredge.grouped_mm.",
                    b"torch.ops.transformers.grouped_mm_fallback.",
                )
                assert b"transformers" in content
            target.writestr(name, content)
    module = fuse(canonicalise(import_model(path, {}, tmp_path).module), "full")
    (found,) = run_fused(module, [each.numpy() for each in inputs])
    expected = torch.cat([inputs[0][:2] @ inputs[1][0], inputs[0][2:] @ inputs[1][1]]) + 1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
