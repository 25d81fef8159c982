"""Each TFLite operator that is imported gives LiteRT's values; another is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import compiled, run_fused
from tflite_cases import FAMILIES, TRUTHS, X, whole
from tflite_graphs import Case, Input, Output, feeds, save

from harness.baselines.registry import open_session
from harness.errors import InputError
from harness.models.frontends import import_model

REASON = "needs the extra: pip install 'layeredge[tflite]'"
pytest.importorskip("tflite", reason=REASON)
pytest.importorskip("ai_edge_litert", reason=REASON)

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


REFUSED = [
    (Case("WHERE", (TRUTHS,), [Output("int64")]), "how many results there are depends on values"),
    (
        Case("UNIQUE", (Input((4,)),), [Output(), Output("int32")], "UniqueOptions"),
        "how many results there are depends on values",
    ),
    (
        Case("RANDOM_UNIFORM", (whole(2, 3),), [Output()], "RandomOptions"),
        "its random numbers are others in each inference",
    ),
    (
        Case("RFFT2D", (Input((2, 4, 4)), whole(4, 4)), [Output("complex64")]),
        "there are no complex numbers in TVM",
    ),
    (
        Case("BITCAST", (X,), [Output("int32")], "BitcastOptions"),
        "the bits of values are not read as another type",
    ),
    (
        Case("RESHAPE", (X, Input((2,), "int32")), [Output()], "ReshapeOptions"),
        "its shape, 'x0_1', depends on values",
    ),
    (
        Case("SLICE", (X, Input((3,), "int32"), whole(1, 1, 1)), [Output()], "SliceOptions"),
        "input 1, 'x0_1', is not a constant",
    ),
    (
        Case("HASHTABLE_SIZE", (Input((1,), "int32"),), [Output("int64")]),
        "TVM's converter fails for (int32[1])",
    ),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=[str(case) for case, _ in REFUSED])
def test_operator_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, case: Case, reason: str
) -> None:
    path = save([case], tmp_path / "model.tflite", run=False)
    with pytest.raises(InputError) as error:
        import_model(path, {}, tmp_path)
    assert str(error.value).endswith(
        f"operator {case.operator} of 'y0_0' is not supported in this form: {reason}"
    )


def test_there_are_more_than_a_hundred_operators() -> None:
    assert len({case.operator for case in CASES}) > 100
