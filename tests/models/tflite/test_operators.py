"""Each TFLite operator that is imported gives LiteRT's values; another is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
pytest.importorskip("ai_edge_litert", reason=REASON)

from compiling import compiled, run_fused
from tflite_cases import FAMILIES, X, number, whole
from tflite_graphs import Case, Input, Output, feeds, save

from harness.baselines.registry import open_session
from harness.errors import InputError
from harness.models.frontends import import_model

CASES = [case for cases in FAMILIES.values() for case in cases]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_gives_what_litert_does(tmp_path: Path, case: Case) -> None:
    path = save([case], tmp_path / "model.tflite")
    values = feeds([case])
    expected = open_session("litert", path, 1).run(values)
    imported = import_model(path, {}, tmp_path)
    found = run_fused(compiled(imported), [values[spec.name] for spec in imported.inputs])
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if other.dtype.kind == "f":
            size = max(float(np.abs(other).max()), 1e-6)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * size)
        else:
            # LiteRT's own sets of kernels round values in steps to neighbours.
            apart = np.abs(one.astype(np.int64) - other.astype(np.int64))
            assert apart.max() <= int(case.quantized and case.operator not in EXACT)


EXACT = {
    *("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "SPLIT"),
    *("SPLIT_V", "PACK", "UNPACK", "GATHER", "GATHER_ND", "TILE", "PAD", "PADV2", "MIRROR_PAD"),
    *("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
    *("MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "REDUCE_MAX", "REDUCE_MIN", "MAXIMUM", "MINIMUM"),
    *("AVERAGE_POOL_2D", "FULLY_CONNECTED", "CONV_2D"),
}
"""Operators on integers without any rounding, or that are rounded as LiteRT does it."""


REFUSED = {
    "the number of results depends on values": Case("WHERE", (Input((2, 3), "bool"),), ()),
}


def test_there_are_more_than_a_hundred_operators() -> None:
    assert len({case.operator for case in CASES}) > 100
