"""A model of a sweep, found: its file, its inputs' shapes, its data, its fingerprint."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from harness.errors import InputError
from harness.models.batch import with_batch, with_single_sample
from harness.models.data.initial_state import TaskFromInitialState, training_from_initial_state
from harness.models.data.task import Task, TrainingInputs
from harness.models.fetch import sha256_of
from harness.models.formats import Format, format_of
from harness.models.state import initial_values
from harness.models.tensors import TensorSpec
from harness.records.artifact import StateTensor
from harness.specs.sweep import ModelSpec


@dataclass(frozen=True)
class ResolvedModel:
    """A model of a sweep, found: its file, its inputs' shapes, and its data if any."""

    name: str
    path: Path
    format: Format
    shapes: dict[str, tuple[int, ...]]
    fingerprint: str
    """SHA-256 over the file's content and everything that decides its labelled data."""
    files: dict[str, str] = field(default_factory=dict)
    """The files that the model is made of, and the SHA-256 of each: its own, and those beside it in
    which ONNX keeps weights, by their paths below its folder."""
    task: Task | None = field(default=None, compare=False)
    task_missing_reason: str | None = None
    training: TrainingInputs | None = field(default=None, compare=False)
    licence: str | None = None
    remarks: tuple[str, ...] = ()
    """What was assumed about it, for the user to know."""

    def fitted(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        state: Sequence[StateTensor] = (),
    ) -> ResolvedModel:
        """This model with its data, once it is imported and known to take and give these. The data
        are of the inputs that are no state.

        Raises InputError for labels and inputs that do not fit.
        """
        initial = initial_values(state, inputs)
        others = [each for each in inputs if each.name not in initial]
        task = self.task.fitted(others, outputs) if self.task else None
        training = self.training.fitted(others) if self.training else None
        if initial:
            task = task and TaskFromInitialState(task, initial)
            training = training and training_from_initial_state(training, initial)
        return replace(self, task=task, training=training)


def resolve_file(spec: ModelSpec, path: Path) -> ResolvedModel:
    """The user's own model at `path`. InputError when it or its data is not as expected."""
    from harness.models.data.labelled_arrays import labelled_arrays, scoring_of, unlabelled_arrays

    kind = format_of(path)
    task, reason = None, None
    if (spec.data is None) != (spec.metric is None):
        given, other = ("data", "metric") if spec.data else ("metric", "data")
        raise InputError(f"model '{spec.name}': has '{given}' but no '{other}'; give both")
    shapes: dict[str, tuple[int, ...]] = dict(spec.shapes)
    remarks: tuple[str, ...] = ()
    if spec.batch is not None:
        shapes = with_batch(path, kind, shapes, spec.batch)
    else:
        with contextlib.suppress(InputError):  # importing a damaged file says what is wrong
            shapes = with_single_sample(path, kind, shapes)
        if assumed := sorted(shapes.keys() - spec.shapes.keys()):
            remarks = (
                f"model '{spec.name}': its file leaves the batch of {', '.join(assumed)} free, "
                "which is 1 here; `batch` sets another",
            )
    inputs = _inputs(path, kind, shapes, spec.state) if spec.data or spec.training else None
    own_metric: Path | None = None
    if spec.data and spec.metric:
        own_metric = scoring_of(spec.metric).source()
        task = labelled_arrays(spec.data, spec.metric, inputs, spec.state)
    else:
        reason = "no labelled data given (keys 'data' and 'metric' of the model)"
    training = unlabelled_arrays(spec.training, inputs, spec.state) if spec.training else None
    # After reading them: a file that is replaced meanwhile has another hash then.
    files = hashed(model_files(path, kind), path.parent)
    return ResolvedModel(
        name=spec.name,
        path=path,
        format=kind,
        shapes=shapes,
        fingerprint=fingerprint(
            files | (hashed([own_metric.name], own_metric.parent) if own_metric else {}),
            spec.data,
            spec.metric or "",
        ),
        files=files,
        task=task,
        task_missing_reason=reason,
        training=training,
        remarks=remarks,
    )


def _inputs(
    path: Path, kind: Format, shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, str]
) -> tuple[TensorSpec, ...] | None:
    """The model's inputs that are no state, with the user's shapes; None if the file's kind hides
    them."""
    if kind != "onnx":
        return None
    import onnx

    from harness.models.onnx.file import load_onnx
    from harness.models.onnx.inputs import graph_inputs
    from harness.models.onnx.shapes import fix_shapes

    model = load_onnx(path)
    fix_shapes(model, shapes, path)
    found = []
    for value in graph_inputs(model.graph):
        if value.name in state:
            continue
        tensor = value.type.tensor_type
        shape = tuple(axis.dim_value for axis in tensor.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found.append(TensorSpec(value.name, shape, str(dtype)))
    return tuple(found)


def model_files(path: Path, kind: Format) -> list[str]:
    """The files that a model is made of, as paths below its folder: its own first."""
    if kind != "onnx":
        return [path.name]
    from harness.models.onnx.file import external_locations

    home = path.parent.resolve()
    beside = {os.path.normpath(location) for location in external_locations(path)}
    return [path.name, *sorted(name for name in beside if _is_inside(home / name, home))]


def _is_inside(path: Path, home: Path) -> bool:
    """Whether a file is in a folder. Other problems are reported by the import."""
    try:
        return path.resolve().is_relative_to(home) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
        return False


def hashed(names: Sequence[str], folder: Path) -> dict[str, str]:
    """The SHA-256 of files below a folder, by their names."""
    return {name: sha256_of(folder / name) for name in names}


def fingerprint(files: Mapping[str, str], data: Path | None, about: str) -> str:
    """SHA-256 over the names and hashes of a model's files, over its data, and over `about`.

    `data` is a file or a folder; InputError when it is not there.
    """
    digest = hashlib.sha256(about.encode())
    if data and not data.exists():
        raise InputError(f"{data}: no such file; expected the model's labelled data")
    found = [(PurePosixPath(name).name, sha256) for name, sha256 in files.items()]
    if data:
        inside = sorted(data.rglob("*")) if data.is_dir() else [data]
        found += [(file.name, sha256_of(file)) for file in inside if not file.is_dir()]
    for name, sha256 in found:
        digest.update(f"{name} {sha256}\n".encode())
    return digest.hexdigest()


def require_unchanged(found: ResolvedModel, fingerprint: str) -> ResolvedModel:
    """`found`. Raises InputError where its files, or those of its data, are no longer those that
    had a fingerprint: no figure of theirs may stand beside it."""
    if found.fingerprint != fingerprint:
        raise InputError(
            f"{found.path}: the model or its data were changed while the sweep ran; run it again"
        )
    return found
