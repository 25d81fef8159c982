from __future__ import annotations

import numpy as np

from harness.compiler.api import relax
from harness.compiler.names import constant_like, name_of, named, unique


def test_a_name_goes_with_other_values_of_any_type() -> None:
    weights = named(relax.const(np.ones((2, 3), np.float32)), "layer")
    other = constant_like(weights, np.arange(4, dtype=np.int64))
    assert name_of(other) == "layer"
    assert other.value.numpy().dtype == np.int64
    assert name_of(constant_like(relax.const(1.0), np.ones(2))) is None


def test_a_call_is_named_and_a_variable_is_left_alone() -> None:
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    assert name_of(named(relax.op.exp(x), "node")) == "node"
    assert named(x, "node") is x
    assert name_of(x) is None


def test_names_that_are_taken_get_numbers() -> None:
    taken = {"conv": 0, "conv (2)": 1}
    assert unique("conv", taken) == "conv (3)"
    assert unique("other", taken) == "other"
