"""State that a network keeps from one inference to the next: an output of one is an input of the
next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.errors import InputError, unknown_name
from harness.models.tensors import TensorSpec
from harness.records.artifact import StateTensor


def declared_state(
    declared: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[StateTensor, ...]:
    """State that a user declares, input to output. Raises InputError for a name that is none, and
    for an output of another shape or dtype than its input."""
    given, gives = ({each.name: each for each in tensors} for tensors in (inputs, outputs))
    for name, following in declared.items():
        for kind, wanted, known in (("input", name, given), ("output", following, gives)):
            if wanted not in known:
                raise InputError(f"state: {unknown_name(kind, wanted, known)}")
        before, after = given[name], gives[following]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise InputError(
                f"state: output {after} cannot be the next inference's input {before}; expected "
                "the same type and shape"
            )
    return tuple(StateTensor(input=name, output=output) for name, output in declared.items())


def initial_values(
    state: Iterable[StateTensor], inputs: Iterable[TensorSpec]
) -> dict[str, np.ndarray]:
    """The first values of a network's state, by the names of its inputs. Raises InputError for a
    name that is none."""
    known = {each.name: each for each in inputs}
    found = {}
    for each in state:
        if each.input not in known:
            raise InputError(f"state: {unknown_name('input', each.input, known)}")
        tensor = known[each.input]
        values = each.initial or [0.0] * math.prod(tensor.shape)
        found[each.input] = np.array(values).astype(tensor.dtype).reshape(tensor.shape)
    return found
