"""Arrays of unknown origin are what their file holds, or refused by its name."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from malformed.arrays import write

from harness.errors import InputError
from harness.files.npz import read_npz


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sound_arrays_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtypes = scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc")
    array = data.draw(arrays(dtypes, array_shapes(min_dims=0, min_side=0, max_dims=4)))
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(path, one=array, two=np.asarray(array, order="F"))
    found = read_npz(path)
    assert list(found) == ["one", "two"]
    for each in found.values():
        assert each.dtype == array.dtype and each.shape == array.shape
        assert each.tobytes() == array.tobytes()


@pytest.mark.parametrize("seed", range(60))
def test_malformed_file_is_read_or_refused_by_its_name(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "data.npz"
    write(path, random.Random(seed))
    try:
        read_npz(path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        assert len(str(error)) < 500 + len(str(path))


def test_file_that_unpacks_to_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, inputs=np.zeros(1_000_000))
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)
    with pytest.raises(InputError, match=r"data\.npz: unpacks to 0\.0 GB, more than the 0\.0 GB"):
        read_npz(path)
