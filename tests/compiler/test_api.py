"""What of TVM is read through one module."""

from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.api import constant, constant_array, relax, values_of


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_values_of_a_constant_are_those_it_was_made_of(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    np.testing.assert_array_equal(values_of(constant(values)), values)
    assert values_of(constant(values)).dtype == values.dtype


def test_values_of_a_constant_are_its_memory_and_cannot_be_written() -> None:
    weights = constant(np.ones((1024, 1024), np.float32))
    first, second = values_of(weights), constant_array(weights)
    assert second is not None and np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 2
    del weights, second
    assert (first == 1).all()  # they keep the memory


def test_an_expression_that_is_no_constant_has_no_values() -> None:
    assert constant_array(relax.Var("x", relax.TensorType((2,), "float32"))) is None
