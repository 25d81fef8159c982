"""A user's own metric: a function of an importable module, named `module:function` in a sweep.

The module is one that the user installed or put on PYTHONPATH. It is looked for by its name alone:
never in the current folder, and nothing in a model or data file can name it. It is imported in a
child process only, so that a crash or a hang in it costs the cell that it was to score.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.errors import CellFailure, InputError
from harness.models.accuracy.labels import ANYTHING, LabelKind
from harness.models.accuracy.metrics import Scorer
from harness.models.accuracy.own_metric_worker import LABELS, drop_current_folder, output_name
from harness.models.accuracy.scores import Outputs
from harness.processes.child import Child, ChildLost, Message
from harness.records.record import Accuracy
from harness.specs.sweep import Limits

_NAME = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")
_IMPORT_SECONDS = 120.0
_EXAMPLE = "expected module:function, such as my_metrics.detection:mean_average_precision"


class OwnMetric:
    """`function(outputs, labels)` of a module, scored in a process of its own.

    `outputs` is a list of arrays, one for each output of the model in its order, each [N, ...] for
    N samples, without the batch axis; `labels` is the array of the data file, [N, ...]. It gives
    either an array [N] of scores, whose mean is the accuracy (of booleans, the share of samples
    that hit), or one number. Larger is better. A number is also computed on 100 sets of as many
    samples, drawn again, for its 95 % interval.
    """

    labels: LabelKind = ANYTHING

    def __init__(self, name: str, limits: Limits | None = None) -> None:
        """Raises InputError for a name of another form."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise InputError(f"metric '{name}': {_EXAMPLE}")
        self.name = self.title = name
        self._module = found["module"]
        self._limits = limits or Limits()

    def source(self) -> Path | None:
        """The module's file, found without importing anything; None where it has none.

        Raises InputError where there is no such module.
        """
        first, *rest = self._module.split(".")
        with _without_current_folder():
            try:
                spec = find_spec(first)
            except ValueError:  # of a module without one, such as __main__
                spec = None
        for at in range(len(rest)):
            places = spec.submodule_search_locations if spec else None
            name = ".".join((first, *rest[: at + 1]))
            spec = PathFinder.find_spec(name, list(places)) if places else None
        if spec is None:
            raise InputError(
                f"metric '{self.name}': no module '{self._module}'; install it, or put its folder "
                "on PYTHONPATH"
            )
        return Path(spec.origin) if spec.origin and spec.has_location else None

    def require(self) -> None:
        """Import the module, in a child. Raises InputError where that fails, or where the module
        lacks the function."""
        with self._child() as child:
            try:
                answer = child.call({"do": "require", "metric": self.name}, _IMPORT_SECONDS)
            except ChildLost as error:
                raise InputError(f"metric '{self.name}': importing it {error}") from None
        if "error" in answer:
            raise InputError(f"metric '{self.name}': {answer['error']}")

    @contextmanager
    def scorer(self, samples: int) -> Iterator[Scorer]:
        """Keeps the outputs of so many samples in files, and has them scored."""
        with TemporaryDirectory(prefix="layeredge-metric-") as folder:
            yield _Scorer(self, Path(folder), samples)

    def answer(self, folder: Path, outputs: int) -> Message:
        """The function's scores of the arrays in a folder. Raises CellFailure."""
        message = {
            "do": "score", "metric": self.name, "folder": str(folder), "outputs": outputs,
        }  # fmt: skip
        with self._child() as child:
            try:
                found = child.call(message, 60 * self._limits.cell_minutes)
            except ChildLost as error:
                raise CellFailure(f"metric '{self.name}' {error}") from None
        if "error" in found:
            raise CellFailure(f"metric '{self.name}': {found['error']}")
        return found

    def _child(self) -> Child:
        return Child("harness.models.accuracy.own_metric_worker", memory_mb=self._limits.memory_mb)


class _Scorer:
    def __init__(self, metric: OwnMetric, folder: Path, samples: int) -> None:
        self._metric = metric
        self._folder = folder
        self._samples = samples
        self._outputs: list[np.memmap] = []
        self._labels: list[np.ndarray] = []

    def add(self, outputs: Outputs, label: np.ndarray) -> None:
        if not self._labels:
            self._outputs = [
                np.lib.format.open_memmap(
                    self._folder / output_name(at),
                    "w+",
                    # NumPy's files do not know bfloat16, which is an extension of its types.
                    np.float32 if each.dtype.kind == "V" else each.dtype,
                    (self._samples, *each.shape[1:]),
                )
                for at, each in enumerate(outputs)
            ]
        for kept, found in zip(self._outputs, outputs, strict=True):
            kept[len(self._labels)] = found[0]
        self._labels.append(np.asarray(label))

    def accuracy(self) -> Accuracy:
        count = len(self._labels)
        if not count:
            raise InputError(f"metric '{self._metric.name}': there are no samples to score")
        np.save(self._folder / LABELS, np.asarray(self._labels), allow_pickle=False)
        for kept in self._outputs:
            kept.flush()
        found = self._metric.answer(self._folder, len(self._outputs))
        outcomes, low, high = None, found["low"], found["high"]
        if found["hits"] is not None:
            from harness.statistics.shares import wilson_interval

            hits = np.asarray(found["hits"], bool)
            outcomes = np.packbits(hits).tobytes().hex()
            low, high = wilson_interval(int(hits.sum()), count)
        return Accuracy(
            value=found["value"],
            ci_low=low,
            ci_high=high,
            metric=self._metric.title,
            samples=count,
            outcomes=outcomes,
        )


@contextmanager
def _without_current_folder() -> Iterator[None]:
    before = list(sys.path)
    drop_current_folder()
    try:
        yield
    finally:
        sys.path[:] = before
