"""A model of a sweep, found: its file, its inputs' shapes, its data, its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import InputError
from harness.models.fetch import sha256_of
from harness.models.formats import Format, format_of
from harness.models.task import Task, TrainingInputs
from harness.models.tensors import TensorSpec
from harness.spec import ModelSpec


@dataclass(frozen=True)
class ResolvedModel:
    """A model of a sweep, found: its file, its inputs' shapes, and its data if any."""

    name: str
    path: Path
    format: Format
    shapes: dict[str, tuple[int, ...]]
    fingerprint: str
    """SHA-256 over the file's content and what decides its labelled data."""
    task: Task | None = field(default=None, compare=False)
    task_missing_reason: str | None = None
    training: TrainingInputs | None = field(default=None, compare=False)
    licence: str | None = None

    def fitted(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> ResolvedModel:
        """This model with its data, once it is imported and known to take and give these.

        Raises InputError for labels and inputs that do not fit.
        """
        return replace(
            self,
            task=self.task.fitted(inputs, outputs) if self.task else None,
            training=self.training.fitted(inputs) if self.training else None,
        )


def resolve_file(spec: ModelSpec, path: Path) -> ResolvedModel:
    """The user's own model at `path`. InputError when it or its data is not what is expected."""
    from harness.models.labelled_arrays import labelled_arrays, scoring_of, unlabelled_arrays

    kind = format_of(path)
    task, reason = None, None
    if (spec.data is None) != (spec.metric is None):
        given, other = ("data", "metric") if spec.data else ("metric", "data")
        raise InputError(f"model '{spec.name}': has '{given}' but no '{other}'; give both")
    inputs = _inputs(path, kind, spec) if spec.data or spec.training else None
    files = _model_files(path, kind)
    if spec.data and spec.metric:
        source = scoring_of(spec.metric).source()
        files += [source] if source else []
        task = labelled_arrays(spec.data, spec.metric, inputs)
    else:
        reason = "no labelled data given (keys 'data' and 'metric' of the model)"
    return ResolvedModel(
        name=spec.name,
        path=path,
        format=kind,
        shapes=dict(spec.shapes),
        fingerprint=fingerprint(files, spec.data, spec.metric or ""),
        task=task,
        task_missing_reason=reason,
        training=unlabelled_arrays(spec.training, inputs) if spec.training else None,
    )


def _inputs(path: Path, kind: Format, spec: ModelSpec) -> tuple[TensorSpec, ...] | None:
    """What the model takes, with the user's shapes; None where the file's kind hides it."""
    if kind != "onnx":
        return None
    import onnx

    from harness.models.onnx_file import load_onnx
    from harness.models.onnx_shapes import fix_shapes, graph_inputs

    model = load_onnx(path)
    fix_shapes(model, spec.shapes, path)
    found = []
    for value in graph_inputs(model.graph):
        tensor = value.type.tensor_type
        shape = tuple(axis.dim_value for axis in tensor.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found.append(TensorSpec(value.name, shape, str(dtype)))
    return tuple(found)


def _model_files(path: Path, kind: Format) -> list[Path]:
    """The files a model is made of: its own, and those beside it in which ONNX keeps weights."""
    if kind != "onnx":
        return [path]
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception:
        # A protocol buffer's DecodeError, whose package is no dependency of ours. What is wrong
        # with the file is said where it is imported.
        return [path]
    home = path.parent.resolve()
    beside = {
        (home / item.value).resolve()
        for tensor in graph.initializer
        for item in tensor.external_data
        if item.key == "location"
    }
    return [path, *sorted(file for file in beside if file.is_relative_to(home) and file.is_file())]


def fingerprint(files: list[Path], data: Path | None, about: str) -> str:
    """SHA-256 over the names and contents of a model's files and its data, and over `about`.

    `data` is a file or a folder; InputError when it is not there.
    """
    digest = hashlib.sha256(about.encode())
    if data and not data.exists():
        raise InputError(f"{data}: no such file; expected the model's labelled data")
    if data:
        inside = sorted(data.rglob("*")) if data.is_dir() else [data]
        files = [*files, *(file for file in inside if file.is_file())]
    for file in files:
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
