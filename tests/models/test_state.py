"""State that a user declares."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InputError
from harness.models.state import declared_state, initial_values
from harness.models.tensors import TensorSpec
from harness.records.artifact import StateTensor

X, H = TensorSpec("x", (2,), "float32"), TensorSpec("h", (1, 2), "int8")
Y, NEXT = TensorSpec("y", (2,), "float32"), TensorSpec("next", (1, 2), "int8")


def test_declared_state_names_an_input_and_an_output() -> None:
    assert declared_state({"h": "next"}, [X, H], [Y, NEXT]) == (
        StateTensor(input="h", output="next"),
    )
    assert declared_state({}, [X, H], [Y, NEXT]) == ()


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"k": "next"}, "state: no input 'k'"),
        ({"h": "nxt"}, "state: no output 'nxt'; did you mean 'next'"),
        (
            {"h": "y"},
            r"output y: float32 \[2\] cannot be the next inference's input h: int8 \[1, 2\]",
        ),
    ],
)
def test_state_that_cannot_be_is_refused(declared: dict[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        declared_state(declared, [X, H], [Y, NEXT])


def test_first_values_are_of_inputs_that_there_are() -> None:
    with pytest.raises(InputError, match="state: no input 'k'"):
        initial_values([StateTensor(input="k", output="next")], [X, H])


def test_state_begins_with_its_values_or_zeros() -> None:
    state = [StateTensor(input="h", output="next", initial=(-128, 3))]
    found = initial_values([*state, StateTensor(input="x", output="y")], [X, H])
    assert list(found) == ["h", "x"]
    assert found["h"].dtype == np.int8 and found["h"].tolist() == [[-128, 3]]
    assert found["x"].dtype == np.float32 and found["x"].tolist() == [0, 0]


def test_first_values_are_exact() -> None:
    values = (2**53 + 1, -(2**63), 2**63 - 1)
    state = StateTensor(input="n", output="next", initial=values)
    again = StateTensor.model_validate_json(state.model_dump_json())
    (found,) = initial_values([again], [TensorSpec("n", (3,), "int64")]).values()
    assert tuple(found.tolist()) == values
