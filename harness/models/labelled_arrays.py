"""A user's own data, arrays in an `.npz` file: with labels, scored by a metric of the registry, or
without, to compress edges by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.errors import InputError, did_you_mean
from harness.models.fetch import sha256_of
from harness.models.metrics import metric
from harness.models.samples import Samples
from harness.models.task import Feeds, TrainingInputs
from harness.models.tensors import TensorSpec
from harness.npz_file import read_npz

LABELS = "labels"
INPUTS = "inputs"


def labelled_arrays(
    path: Path, metric_name: str, inputs: Sequence[TensorSpec] | None = None
) -> Samples:
    """Read `labels` and one array per input (or `inputs`, for a model with one) from `path`.

    Each input array holds samples of the input's shape, with or without its batch axis of 1.
    Without `inputs`, every array but `labels` is an input of that name and is not checked; its
    samples then lack the batch axis. Raises InputError naming the array, what was found and what
    was expected.
    """
    scored_by = metric(metric_name)
    arrays = read_npz(path)
    labels = take(arrays, LABELS, path)
    if labels.ndim == 0 or not len(labels):
        raise InputError(f"{path}: array '{LABELS}' has no samples")
    if labels.dtype.kind not in "iufb":
        raise InputError(
            f"{path}: array '{LABELS}' is {labels.dtype}; expected numbers: {scored_by.labels}"
        )
    named = _named(arrays, inputs, path)
    for name, array in named.items():
        if len(array) != len(labels):
            raise InputError(
                f"{path}: input '{name}' has {len(array)} samples, '{LABELS}' has {len(labels)}"
            )

    return Samples(scored_by, labels, _feeds(named))


def unlabelled_arrays(path: Path, inputs: Sequence[TensorSpec] | None = None) -> TrainingInputs:
    """Read inputs from `path` as `labelled_arrays` does; labels are left out if there are any."""
    named = _named(read_npz(path), inputs, path)
    counts = {name: len(array) for name, array in named.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise InputError(f"{path}: expected as many samples of each input, found {counts}")
    return TrainingInputs(min(counts.values()), _feeds(named), sha256_of(path))


def _named(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec] | None, path: Path
) -> dict[str, np.ndarray]:
    return _unchecked(arrays, path) if inputs is None else _checked(arrays, inputs, path)


def _feeds(named: Mapping[str, np.ndarray]) -> Callable[[int], Feeds]:
    def feeds(at: int) -> Feeds:
        return {name: np.ascontiguousarray(array[at]) for name, array in named.items()}

    return feeds


def take(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """The array of this name; InputError with the nearest name if there is none."""
    if name not in arrays:
        raise InputError(f"{path}: no array '{name}'{did_you_mean(name, arrays)}")
    return arrays[name]


def _checked(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec], path: Path
) -> dict[str, np.ndarray]:
    """One array per input, each [samples, *shape of the input]."""
    alone = len(inputs) == 1 and inputs[0].name not in arrays and INPUTS in arrays
    return {
        tensor.name: _fitted(take(arrays, INPUTS if alone else tensor.name, path), tensor, path)
        for tensor in inputs
    }


def _unchecked(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Every array but the labels, with a batch axis of 1 put in."""
    named = {name: array for name, array in arrays.items() if name != LABELS}
    if not named or INPUTS in named or not all(array.ndim for array in named.values()):
        raise InputError(
            f"{path}: expected one array per input, named as the input, "
            f"found {', '.join(sorted(arrays))}"
        )
    return {name: array[:, np.newaxis] for name, array in named.items()}


def _fitted(array: np.ndarray, tensor: TensorSpec, path: Path) -> np.ndarray:
    """The array as [samples, *shape of the input]; InputError when it does not fit."""
    if array.dtype != np.dtype(tensor.dtype):
        raise InputError(
            f"{path}: input '{tensor.name}' is {array.dtype}; the model takes {tensor.dtype}"
        )
    found = tuple(array.shape[1:])
    if array.ndim and found == tensor.shape:
        return array
    if array.ndim and tensor.shape[:1] == (1,) and found == tensor.shape[1:]:
        return array[:, np.newaxis]
    raise InputError(
        f"{path}: input '{tensor.name}' has shape {list(array.shape)}; "
        f"expected [samples, {', '.join(str(size) for size in tensor.shape)}]"
    )
