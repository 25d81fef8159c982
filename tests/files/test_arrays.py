"""Arrays keep names, order, types and shapes from one process to the next."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from harness.files.arrays import read_arrays, write_arrays

ARRAYS = st.sampled_from([np.float32, np.int64, np.bool_, np.uint8]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
ROWS = st.lists(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=3), max_size=3)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_rows_are_the_same_when_read_again(
    tmp_path: Path, rows: list[dict[str, np.ndarray]]
) -> None:
    path = tmp_path / "rows.npz"
    write_arrays(path, [list(row.items()) for row in rows])
    found = read_arrays(path)
    assert [list(row) for row in found] == [list(row) for row in rows]
    for row, same in zip(rows, found, strict=True):
        for name, array in row.items():
            assert same[name].dtype == array.dtype and same[name].shape == array.shape
            assert same[name].tobytes() == array.tobytes()


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    write_arrays(tmp_path / "one.npz", [[("x", np.zeros(2))]])
    assert [path.name for path in tmp_path.iterdir()] == ["one.npz"]


def test_types_that_numpy_has_as_extensions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    given = np.array([[1.5, -0.0], [np.inf, np.nan]]).astype(ml_dtypes.bfloat16)
    write_arrays(path, [[("x", given), ("scalar", given[0, 0])]])
    (found,) = read_arrays(path)
    assert found["x"].dtype == found["scalar"].dtype == ml_dtypes.bfloat16
    assert found["x"].tobytes() == given.tobytes() and found["scalar"] == 1.5
