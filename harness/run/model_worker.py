"""Reads models and their data, in a child process (`python -m harness.run.model_worker`): a file of
unknown origin may crash its parser, unpack to terabytes, or never end.

Results are returned as a description, or as arrays in files of our own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InputError, first_line, kind_of
from harness.processes.child import Channel, Message, channel

if TYPE_CHECKING:
    import numpy as np

    from harness.models.data.task import Feeds
    from harness.models.resolved import ResolvedModel


class ModelWorker:
    """Answers one message after another. Each reads its model anew: files may change."""

    def __init__(self, parent: Channel, messages: Iterator[Message]) -> None:
        self._parent = parent
        self._messages = messages

    def find(self, message: Message) -> Message:
        """Facts about a model; its labelled samples are counted up to `count`."""
        found = _resolved(message)
        return {
            "path": str(found.path),
            "format": found.format,
            "shapes": found.shapes,
            "fingerprint": found.fingerprint,
            "files": found.files,
            "metric": found.task.metric if found.task else None,
            "samples": len(found.task.inputs(message["count"])) if found.task else 0,
            "task_missing_reason": found.task_missing_reason,
            "training": found.training.fingerprint if found.training else None,
            "licence": found.licence,
            "remarks": found.remarks,
        }

    def fit(self, message: Message) -> Message:
        """Check that a model's data fit its inputs and outputs. The number of labelled samples,
        counted up to `count`, and remarks on them."""
        task = _unchanged(message).task
        if task is None:
            return {"samples": 0, "remarks": []}
        return {"samples": len(task.inputs(message["count"])), "remarks": task.remarks()}

    def require(self, message: Message) -> Message:
        """See that a model's data can be scored here."""
        task = _unchanged(message).task
        assert task is not None
        task.require()
        return {}

    def inputs(self, message: Message) -> Message:
        """Write the first inputs of a model's labelled data, those of it to verify with, or the
        first that the model is trained on."""
        from harness.files.arrays import write_arrays

        model = _unchanged(message)
        source = getattr(model, "training" if message["source"] == "training" else "task")
        give = source.examples if message["source"] == "examples" else source.inputs
        rows = give(message["count"])
        write_arrays(Path(message["path"]), [list(row.items()) for row in rows])
        return {}

    def evaluate(self, message: Message) -> Message:
        """Score the outputs that the parent sends, sample by sample, on a model's labelled data."""
        from harness.files.arrays import read_arrays, write_arrays

        task = _unchanged(message).task
        assert task is not None
        with tempfile.TemporaryDirectory(dir=message["folder"]) as folder:
            inputs = Path(folder) / "inputs.npz"

            def run(feeds: Feeds) -> list[np.ndarray]:
                write_arrays(inputs, [list(feeds.items())])
                self._parent.send({"run": str(inputs)})
                outputs = next(self._messages)["outputs"]
                return list(read_arrays(Path(outputs))[0].values())

            def progress(done: int, total: int) -> None:
                self._parent.send({"done": done, "total": total})

            found = task.evaluate(run, progress, message["limit"], message["skip"])
        _unchanged(message)
        return {"accuracy": found.model_dump()}


def _resolved(message: Message) -> ResolvedModel:
    from harness.models.catalog.entries import resolve
    from harness.specs.sweep import ModelSpec

    return resolve(ModelSpec.model_validate(message["spec"]))


def _unchanged(message: Message) -> ResolvedModel:
    """The model, unless its files are others than those that the sweep was planned with. Its data
    are those of a model with some inputs and outputs, where these are known."""
    from harness.models.resolved import require_unchanged
    from harness.models.tensors import tensor_specs
    from harness.records.artifact import StateTensor

    found = require_unchanged(_resolved(message), message["fingerprint"])
    tensors = message["tensors"]
    if not tensors:
        return found
    return found.fitted(
        tensor_specs(tensors["inputs"]),
        tensor_specs(tensors["outputs"]),
        tuple(map(StateTensor.model_validate, tensors["state"])),
    )


def _attempt(action: Callable[[Message], Message], message: Message) -> Message:
    try:
        return {"answer": action(message)}
    except Exception as error:
        # Any error of a parser at a damaged file.
        if not isinstance(error, HarnessError):
            spec = message["spec"]
            where = f"{spec['path'] or spec['name']}: {type(error).__name__}"
            error = InputError(f"{where}: {first_line(error)}")
        return {"error": str(error), "kind": kind_of(error)}


def main() -> None:
    parent = channel()
    messages = iter(parent)
    worker = ModelWorker(parent, messages)
    for message in messages:
        parent.send(_attempt(getattr(worker, message["do"]), message))


if __name__ == "__main__":
    main()
