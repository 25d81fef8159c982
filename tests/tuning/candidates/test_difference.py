"""What a kernel's schedules may differ by, and what not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.compiler.api import te, tvm
from harness.files.arrays import read_arrays, write_arrays
from harness.tuning.candidates.difference import (
    Reference,
    admitted_errors,
    arguments_of,
    as_row,
    difference,
    first_difference,
    reference_of,
)
from harness.tuning.candidates.references import references

TARGET = {"kind": "llvm"}


def quotient(extent: int) -> tvm.IRModule:
    """One divided by a sum of products, which may nearly cancel."""
    left, right = (te.placeholder((extent, 64), name=name) for name in ("left", "right"))
    axis = te.reduce_axis((0, 64), name="axis")
    sums = te.compute((extent,), lambda at: te.sum(left[at, axis] * right[at, axis], axis=axis))
    result = te.compute((extent,), lambda at: 1.0 / sums[at], name="result")
    return tvm.IRModule({"main": te.create_prim_func([left, right, result])})


def test_a_quotient_of_what_cancels_may_be_summed_in_any_order() -> None:
    generator = np.random.default_rng(0)
    left = generator.standard_normal((400, 64)).astype(np.float32)
    right = generator.standard_normal((400, 64)).astype(np.float32)
    # The last product leaves a ten-thousandth of the sum of the others.
    left[:, -1] = 1
    right[:, -1] = -(left[:, :-1] * right[:, :-1]).sum(axis=1) * np.float32(1 - 1e-4)
    arrays = [left, right, np.zeros(400, np.float32)]
    (reference,) = references(quotient(400), 1, arrays, None, TARGET)
    backward = np.zeros(400, np.float32)
    for at in reversed(range(64)):
        backward += left[:, at] * right[:, at]
    found = 1 / backward
    assert difference(reference.outputs[0], found) is not None
    assert difference(reference.outputs[0], found, reference.admitted[0]) is None
    wrong = found.copy()
    wrong[7] *= -1
    why = difference(reference.outputs[0], wrong, reference.admitted[0])
    assert why is not None and why.startswith("1 of 400 values differ: ") and "at [7]" in why


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
def test_only_floats_may_differ(dtype: str) -> None:
    expected = np.arange(1, 9).astype(dtype)
    assert (admitted_errors(expected).max() > 0) == dtype.startswith("float")
    assert difference(expected, expected) is None
    assert difference(expected, np.roll(expected, 1)) is None or dtype != "bool"


def test_references_come_back_from_a_file(tmp_path: Path) -> None:
    inputs, outputs = [np.ones(3, np.float32), np.arange(2)], [np.full(4, 2.0), np.arange(3)]
    reference = Reference(inputs, outputs, [admitted_errors(each) for each in outputs])
    write_arrays(tmp_path / "r.npz", [as_row(reference)])
    (row,) = read_arrays(tmp_path / "r.npz")
    back = reference_of(row, 2)
    for one, other in zip(reference, back, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(arguments_of(row)) == 4
    assert first_difference(lambda _: outputs, [back]) is None
    wrong = first_difference(lambda _: [outputs[0], outputs[1] + 1], [back])
    assert wrong is not None and wrong.startswith("output 1: 3 of 3 values differ")
