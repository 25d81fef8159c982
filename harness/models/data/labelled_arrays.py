"""A user's own data, arrays in an `.npz` file: with labels, scored by a metric, or without, to
compress edges by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.files.npz import read_npz
from harness.models.accuracy.labels import BadLabel, LabelKind
from harness.models.accuracy.metrics import Scoring, metric
from harness.models.accuracy.scores import Outputs
from harness.models.data.batches import LABELS, Batches, Inputs, batches, take
from harness.models.data.task import Feeds, Progress, Run, Task, TrainingInputs, spread
from harness.models.fetch import sha256_of
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy


def scoring_of(name: str) -> Scoring:
    """A built-in metric by its name, or a user's own by `module:function`. Raises InputError."""
    if ":" not in name:
        return metric(name)
    from harness.models.accuracy.own_metric import OwnMetric

    return OwnMetric(name)


def labelled_arrays(
    path: Path,
    metric_name: str,
    inputs: Inputs | None = None,
    state: Collection[str] = (),
) -> LabelledArrays:
    """Read `labels` and one array per input (or `inputs`, for a model with one) from `path`.

    Each input array holds samples of the input's shape, with or without its batch axis. Where that
    is of several samples and left out, samples are put together into batches. Without `inputs`,
    every array but `labels` is an input of that name; `fitted` checks them once the model is
    imported. Raises InputError naming the array, the value found and the expected one; also for an
    array of an input that is `state`, whose first values are not those of samples.
    """
    scored_by = scoring_of(metric_name)
    arrays = _without_state(read_npz(path), state, path)
    labels = take(arrays, LABELS, path)
    if labels.ndim == 0 or not labels.size:
        raise InputError(f"{path}: array '{LABELS}' has no samples")
    _check(scored_by.labels, labels, path)
    return LabelledArrays(path, scored_by, arrays, labels, batches(arrays, inputs, path))


def _without_state(
    arrays: Mapping[str, np.ndarray], state: Collection[str], path: Path
) -> Mapping[str, np.ndarray]:
    if given := sorted(arrays.keys() & set(state)):
        raise InputError(
            f"{path}: has an array '{given[0]}', an input that `state` gives the output of the "
            "inference before; leave out the array, or that input's line in `state`"
        )
    return arrays


def unlabelled_arrays(
    path: Path, inputs: Inputs | None = None, state: Collection[str] = ()
) -> TrainingInputs:
    """Read inputs from `path` as `labelled_arrays` does; labels are left out if there are any."""
    arrays, fingerprint = _without_state(read_npz(path), state, path), sha256_of(path)

    def fitted(inputs: Inputs | None) -> TrainingInputs:
        found = batches(arrays, inputs, path)
        return TrainingInputs(found.inferences, found.feeds, fingerprint, fitted)

    return fitted(inputs)


class LabelledArrays(Task):
    """A task of arrays. Where an inference is of several samples, each of these has its label and
    is scored by itself; fillers of the last batch are not scored."""

    def __init__(
        self,
        path: Path,
        scored_by: Scoring,
        arrays: Mapping[str, np.ndarray],
        labels: np.ndarray,
        found: Batches,
        outputs: Sequence[TensorSpec] = (),
        together: int = 1,
    ) -> None:
        """`together` is how many samples the model's batch axis is of, as far as is known."""
        self.metric = scored_by.title
        self.scored_by = scored_by
        self._path = path
        self._arrays = arrays
        self._given = labels
        self._batches = found
        self._outputs = outputs
        self._each = found.size if found.size > 1 else together
        self._labels = self._arranged()

    def fitted(self, inputs: Inputs, outputs: Sequence[TensorSpec]) -> LabelledArrays:
        """This task for a model that takes and gives these. Raises InputError for a label that
        cannot fit, with its row, and for inputs that do not."""
        found = batches(self._arrays, inputs, self._path)
        together = found.size
        if outputs:
            together = _together(inputs, outputs[0], self.scored_by.labels)
            if found.size > 1 and outputs[0].shape[:1] != (found.size,):
                raise InputError(
                    f"{self._path}: its rows are put together into batches of {found.size}, and "
                    f"the model's first output, {outputs[0]}, has no such axis; give the inputs "
                    "with their batch axis"
                )
        return LabelledArrays(
            self._path, self.scored_by, self._arrays, self._given, found, outputs, together
        )

    def inputs(self, count: int) -> list[Feeds]:
        """The inputs of the first `count` inferences, or of all if there are fewer."""
        return [self._batches.feeds(at) for at in range(min(count, self._batches.inferences))]

    def examples(self, count: int) -> list[Feeds]:
        """Inferences from all over the data."""
        return [self._batches.feeds(at) for at in spread(self._batches.inferences, count)]

    def require(self) -> None:
        """Raises InputError where the metric does not work here."""
        self.scored_by.require()

    def remarks(self) -> list[str]:
        """Remarks on odd inputs that are no error: a model may take NaN for a value that is
        missing."""
        found = []
        for name, array in self._batches.arrays.items():
            if array.dtype.kind == "f":
                odd = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
                if odd.any():
                    found.append(
                        f"{self._path}: input '{name}' is not finite (NaN or infinite) in "
                        f"{odd.sum()} of {len(odd)} rows, the first is row {odd.argmax()}; the "
                        "model is given them as they are"
                    )
        return found

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score a model on all samples but those of the first `skip` inferences, or on the first
        `limit` of those. InputError if a label cannot fit, or nothing is left."""
        if not self._outputs:
            return self._fitted_by_running(run).evaluate(run, progress, limit, skip)
        scored = range(len(self._labels))[skip * self._each :][:limit]
        with self.scored_by.scorer(len(scored)) as scorer:
            for done, (at, outputs) in enumerate(self._run(run, scored), start=1):
                scorer.add(outputs, self._labels[at])
                progress(done, len(scored))
            return scorer.accuracy()

    def _fitted_by_running(self, run: Run) -> LabelledArrays:
        """For a model whose outputs are not known yet."""
        feeds = self._batches.feeds(0)
        inputs = [TensorSpec(name, each.shape, str(each.dtype)) for name, each in feeds.items()]
        outputs = [
            TensorSpec(f"output {at}", each.shape, str(each.dtype))
            for at, each in enumerate(run(feeds))
        ]
        return self.fitted(inputs, outputs)

    def _run(self, run: Run, scored: range) -> Iterator[tuple[int, Outputs]]:
        """Each scored sample's index and outputs, these with a batch axis of 1."""
        outputs: Outputs = []
        last = -1
        for at in scored:
            inference, row = divmod(at, self._each)
            if inference != last:
                outputs, last = run(self._batches.feeds(inference)), inference
            yield at, [_of_sample(output, row, self._each) for output in outputs]

    def _arranged(self) -> np.ndarray:
        """Labels as the metric takes them, one for each sample."""
        labels, each, inferences = self._given, self._each, self._batches.inferences
        if self._batches.size > 1:
            _require_rows(len(labels) == self._batches.rows, self._path, labels, self._batches.rows)
        elif each > 1 and labels.shape[:2] == (inferences, each):
            labels = labels.reshape(inferences * each, *labels.shape[2:])
        elif each > 1:
            if len(labels) != inferences * each:
                raise InputError(
                    f"{self._path}: '{LABELS}' has the shape {list(labels.shape)}; expected "
                    f"[{inferences}, {each}], or [{inferences * each}]: an inference is of {each} "
                    "samples, and each has its label"
                )
        else:
            several = not self._outputs and len(labels) % inferences == 0
            _require_rows(len(labels) == inferences or several, self._path, labels, inferences)
        if not self._outputs:
            return labels
        a_row = each if len(labels) != len(self._given) else 1
        one = _one_sample(self._outputs[0], each)
        return _arrange(self.scored_by.labels, labels, one, self._path, a_row)


def arranged(kind: LabelKind, labels: np.ndarray, one: TensorSpec, path: Path) -> np.ndarray:
    """Labels, [samples, ...], as a metric takes them; `one` is the first output of one sample.
    Raises InputError for one that cannot be right, with its row."""
    _check(kind, labels, path)
    return _arrange(kind, labels, one, path, 1)


def _check(kind: LabelKind, labels: np.ndarray, path: Path) -> None:
    try:
        kind.check(labels)
    except BadLabel as bad:
        raise InputError(f"{path}: row {bad.at} of '{LABELS}' {bad}") from None


def _arrange(
    kind: LabelKind, labels: np.ndarray, one: TensorSpec, path: Path, a_row: int
) -> np.ndarray:
    """`a_row` is how many labels each row of the file has."""
    try:
        return kind.arrange(labels, one)
    except BadLabel as bad:
        row, sample = divmod(bad.at, a_row)
        of = f"sample {sample} of row {row}" if a_row > 1 else f"row {row}"
        raise InputError(f"{path}: {of} of '{LABELS}' {bad}") from None


def _require_rows(right: bool, path: Path, labels: np.ndarray, expected: int) -> None:
    if not right:
        raise InputError(
            f"{path}: the inputs have {expected} samples, '{LABELS}' has {len(labels)}"
        )


def _together(inputs: Inputs, output: TensorSpec, labels: LabelKind) -> int:
    """How many samples one inference is of: the first axis of all inputs, where the first output
    has it too. An output that has no other axis is one sample's, unless a sample has one value."""
    first = {tensor.shape[0] for tensor in inputs if tensor.shape}
    if len(first) != 1 or output.shape[:1] != tuple(first):
        return 1
    single = labels.is_single or np.dtype(output.dtype).kind in "iu"
    return first.pop() if len(output.shape) > 1 or single else 1


def _one_sample(output: TensorSpec, each: int) -> TensorSpec:
    """An output of one sample, without its batch axis."""
    shape = output.shape[1:] if output.shape[:1] == (each,) else output.shape
    return TensorSpec(output.name, shape, output.dtype)


def _of_sample(output: np.ndarray, row: int, each: int) -> np.ndarray:
    """The part of an output of an inference of `each` samples for one of them, with a batch axis of
    1. One without a batch axis is of all of them."""
    return output[row : row + 1] if output.shape[:1] == (each,) else output[np.newaxis]
