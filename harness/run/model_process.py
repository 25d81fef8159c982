"""Facts about a sweep's models. A child with limits reads their files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from harness.errors import CellFailure, InputError, of_kind
from harness.files.arrays import read_arrays, write_arrays
from harness.models.data.task import Feeds, Progress, Run
from harness.models.formats import Format
from harness.models.tensors import TensorSpec
from harness.processes.child import Child, ChildLost, Message
from harness.records.artifact import StateTensor
from harness.records.record import Accuracy
from harness.run.results_folder import scratch_in
from harness.specs.sweep import Limits, ModelSpec


@dataclass(frozen=True)
class KnownModel:
    """A model of a sweep, as far as it is known without its arrays; see
    `harness.models.resolved.ResolvedModel`. `format` is None where its file cannot be read, and
    `samples` are its labelled samples, counted up to as many as mattered."""

    name: str
    path: Path
    format: Format | None
    shapes: dict[str, tuple[int, ...]]
    fingerprint: str
    files: dict[str, str] = field(default_factory=dict)
    task: DistantTask | None = None
    samples: int = 0
    task_missing_reason: str | None = None
    training: DistantInputs | None = None
    licence: str | None = None
    remarks: tuple[str, ...] = ()

    def fitted(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        state: Sequence[StateTensor],
        count: int,
    ) -> tuple[KnownModel, list[str]]:
        """This model once it is imported and known to take, give and keep these, its samples
        counted up to `count`; and what there is to say of its data. Raises InputError where the
        data do not fit."""
        found = self.task or self.training
        if found is None:
            return self, []
        source = found.source.of(inputs, outputs, state)
        answer = source.ask({"do": "fit", "count": count})
        fitted = replace(
            self,
            task=DistantTask(source, self.task.metric) if self.task else None,
            training=DistantInputs(source, self.training.fingerprint) if self.training else None,
            samples=answer["samples"],
        )
        return fitted, answer["remarks"]


class ModelProcess:
    """A child that reads models and their data, started when it is needed. Use as a context
    manager. A lost child costs its present question, and another takes its place. `scratch` is a
    folder for temporary files, the system's by default."""

    def __init__(self, limits: Limits, scratch: Path | None = None) -> None:
        self.scratch = scratch
        self._limits = limits
        self._child: Child | None = None

    def __enter__(self) -> ModelProcess:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def find(self, spec: ModelSpec, count: int) -> KnownModel:
        """A model, with its labelled samples counted up to `count`. Raises
        InputError for a model, or data of it, that cannot be read or have unexpected contents, and
        CellSkipped for an entry of the catalog that needs something optional.
        """
        try:
            found = self.ask({"do": "find", "count": count}, spec)
        except CellFailure as error:
            raise InputError(str(error)) from None
        source = _Source(self, spec, found["fingerprint"])
        return KnownModel(
            name=spec.name,
            path=Path(found["path"]),
            format=found["format"],
            shapes={name: tuple(shape) for name, shape in found["shapes"].items()},
            fingerprint=found["fingerprint"],
            files=found["files"],
            task=DistantTask(source, found["metric"]) if found["metric"] else None,
            samples=found["samples"],
            task_missing_reason=found["task_missing_reason"],
            training=DistantInputs(source, found["training"]) if found["training"] else None,
            licence=found["licence"],
            remarks=tuple(found["remarks"]),
        )

    def ask(
        self,
        message: Message,
        spec: ModelSpec,
        run: Run | None = None,
        heard: Progress | None = None,
    ) -> Message:
        """The answer to a message about a model. Where the child has something run, `run` does it.

        Raises the child's error, and CellFailure if it is lost.
        """
        if self._child is None:
            self._child = Child(
                "harness.run.model_worker",
                memory_mb=self._limits.memory_mb,
                environment=scratch_in(self.scratch) if self.scratch else None,
            )
        answer: Message = {}
        try:
            answer = self._answer(self._child, {**message, "spec": _plain(spec)}, run, heard)
        except ChildLost as error:
            raise CellFailure(
                f"{_files(spec)}: the process that reads {'them' if spec.data else 'it'} {error}"
            ) from None
        finally:
            if not answer:  # it was lost, or waits for outputs that `run` did not give
                self.close()
        if "error" in answer:
            raise of_kind(answer["kind"], answer["error"])
        found: Message = answer["answer"]
        return found

    def _answer(
        self, child: Child, message: Message, run: Run | None, heard: Progress | None
    ) -> Message:
        deadline = monotonic() + 60 * self._limits.cell_minutes
        child.send(message)
        while True:
            answer = child.receive(max(0.1, deadline - monotonic()))
            if "answer" in answer or "error" in answer:
                return answer
            if run is not None and "run" in answer:
                child.send({"outputs": _run(run, Path(answer["run"]))})
            elif heard is not None:
                heard(answer["done"], answer["total"])


def _plain(spec: ModelSpec) -> Message:
    return spec.model_dump(mode="json")


def _run(run: Run, inputs: Path) -> str:
    (feeds,) = read_arrays(inputs)
    outputs = inputs.with_name("outputs.npz")
    write_arrays(outputs, [[(str(at), array) for at, array in enumerate(run(feeds))]])
    return str(outputs)


@dataclass(frozen=True)
class _Source:
    """A model whose data are read by a process, and the fingerprint that they have to have.
    `tensors` are its inputs and outputs, once they are known."""

    process: ModelProcess
    spec: ModelSpec
    fingerprint: str
    tensors: Message = field(default_factory=dict)

    def of(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        state: Sequence[StateTensor],
    ) -> _Source:
        """The same for a model that takes and gives these, and keeps that."""
        tensors = {
            "inputs": list(map(asdict, inputs)),
            "outputs": list(map(asdict, outputs)),
            "state": [each.model_dump() for each in state],
        }
        return replace(self, tensors=tensors)

    def ask(self, message: Mapping[str, Any], *rest: Any) -> Message:
        about = {"fingerprint": self.fingerprint, "tensors": self.tensors}
        return self.process.ask({**message, **about}, self.spec, *rest)

    def write(self, source: str, count: int | None, path: Path) -> None:
        self.ask({"do": "inputs", "source": source, "count": count, "path": str(path)})

    def inputs(self, source: str, count: int | None) -> list[Feeds]:
        with tempfile.TemporaryDirectory(dir=self.process.scratch) as folder:
            path = Path(folder) / "inputs.npz"
            self.write(source, count, path)
            return read_arrays(path)


class DistantTask:
    """A `harness.models.data.task.Task` whose data another process reads."""

    def __init__(self, source: _Source, metric: str) -> None:
        self.metric = metric
        self.source = source

    def inputs(self, count: int) -> list[Feeds]:
        """The first `count` (or fewer) real inputs."""
        return self.source.inputs("task", count)

    def examples(self, count: int) -> list[Feeds]:
        """`count` (or fewer) real inputs to verify and measure with."""
        return self.source.inputs("examples", count)

    def require(self) -> None:
        """Raises InputError where the metric does not work here."""
        self.source.ask({"do": "require"})

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score on the data without the first `skip` samples, or on `limit` of the others."""
        with tempfile.TemporaryDirectory(dir=self.source.process.scratch) as folder:
            message = {"do": "evaluate", "limit": limit, "skip": skip, "folder": folder}
            return Accuracy.model_validate(self.source.ask(message, run, progress)["accuracy"])

    def write(self, count: int | None, path: Path) -> None:
        """Write the first inputs to a file, as `harness.files.arrays.write_arrays` does."""
        self.source.write("task", count, path)


class DistantInputs:
    """Inputs of a model, without labels, that another process reads."""

    def __init__(self, source: _Source, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.source = source

    def inputs(self, count: int | None = None) -> list[Feeds]:
        """The first `count` (or fewer) samples, or all."""
        return self.source.inputs("training", count)

    def write(self, count: int | None, path: Path) -> None:
        """Write the first samples, or all, as `harness.files.arrays.write_arrays` does."""
        self.source.write("training", count, path)


def _files(spec: ModelSpec) -> str:
    """What a process reads of a model, in words."""
    named = str(spec.path or spec.name)
    return f"{named} with {spec.data}" if spec.data else named
