"""The catalog of ready models: its entries, fetching them, and finding a sweep's models."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import CellSkipped, InputError, unknown_name
from harness.files.atomic import write_atomically
from harness.files.cache import cache_folder
from harness.models.batch import with_batch
from harness.models.data.batched import BatchedTask, Batching, batched
from harness.models.data.task import Task, TrainingInputs
from harness.models.fetch import LOCK, SCRATCH, Wheel, locked, remove_contents, sha256_of
from harness.models.resolved import ResolvedModel, fingerprint, hashed, resolve_file
from harness.models.tensors import TensorSpec
from harness.specs.sweep import ModelSpec

COMPLETE = "complete.json"
"""Written last into an entry's folder: its presence says that all the rest is there."""

_ENTRIES = {
    "fashion-resnet8": ("harness.models.catalog.embedded_models", "RESNET8"),
    "fashion-dscnn": ("harness.models.catalog.embedded_models", "DSCNN"),
    "efficientnet-lite0": ("harness.models.catalog.efficientnet", "ENTRY"),
    "ppocr-det": ("harness.models.catalog.ppocr", "DETECTOR"),
    "ppocr-cls": ("harness.models.catalog.ppocr", "CLASSIFIER"),
    "minilm-l6": ("harness.models.catalog.minilm", "ENTRY"),
    "magika": ("harness.models.catalog.magika", "ENTRY"),
    "silero-vad": ("harness.models.catalog.silero", "ENTRY"),
}
"""Name to where the entry is. Those modules import optional dependencies inside functions,
so that the catalog can be listed without it."""


@dataclass(frozen=True)
class CatalogEntry:
    """One ready model: its description, origin, inputs and metric.

    `build` and `task` get the entry's own cache folder, which exists and is held by this process
    while `build` runs.
    """

    name: str
    summary: str
    task_text: str
    licence: str
    inputs: tuple[TensorSpec, ...]
    preprocessing: str
    data: str
    """Where the labelled data comes from, and the kind of file that the sweep's `data` may name
    instead."""
    metric: str | None
    build: Callable[[Path], Path]
    """Gives the ONNX file, fetching and constructing missing files, the labelled
    data included. Raises InputError."""
    task: Callable[[Path, Path | None], Task | None]
    """The labelled data, from the folder or from the user's `data`. Raises InputError for data that
    is not as expected, and CellSkipped, with the name, when an optional part is missing."""
    training: Callable[[Path | None], TrainingInputs | None] | None = None
    """Inputs to compress its edges by: from the user's `training`, or those it comes with, if any.
    Where there is none, the user's `training` is an `.npz` of the model's inputs."""
    wheels: tuple[Wheel, ...] = ()
    files: tuple[str, ...] = ()
    """The files taken from the wheels: paths in them, for people to read."""
    needs: tuple[str, ...] = ()
    """Packages beyond the core dependencies that preprocessing or scoring needs."""
    metric_missing_reason: str | None = None
    revision: int = 1
    """Raised when `build` starts to give something else, so that old caches are built anew."""

    @property
    def embedded(self) -> bool:
        """Whether it ships with this package, so that nothing needs fetching."""
        return not self.wheels

    @property
    def stamp(self) -> str:
        """Changes whenever the result of `build` may change."""
        parts = [self.name, str(self.revision), *(wheel.sha256 for wheel in self.wheels)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def names() -> tuple[str, ...]:
    """The names of all catalog models."""
    return tuple(_ENTRIES)


def entry(name: str) -> CatalogEntry:
    """The entry of this name; InputError with the nearest known name if there is none."""
    if name not in _ENTRIES:
        raise unknown_name("model", name, _ENTRIES)
    module, attribute = _ENTRIES[name]
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, CatalogEntry):
        raise TypeError(f"{module}.{attribute} is not a CatalogEntry")
    return found


def entries() -> tuple[CatalogEntry, ...]:
    """All entries, in the order they are shown."""
    return tuple(entry(name) for name in _ENTRIES)


def folder(found: CatalogEntry) -> Path:
    """Where this entry's files are kept; not created here."""
    return cache_folder() / "models" / found.name


def fetched(found: CatalogEntry) -> Path | None:
    """The model file when all that was fetched and built is there, and as it was, else None. No
    network."""
    if found.embedded:
        return found.build(folder(found))
    done = _completed(found)
    if done is None or _damaged(found, done):
        return None
    return folder(found) / str(done["model"])


def ensure_fetched(name: str) -> None:
    """Fetch the entry of this name unless it is there. Raises InputError."""
    found = entry(name)
    if fetched(found) is None:
        fetch(found)


def fetch(found: CatalogEntry) -> Path:
    """Put in place all that the entry needs and return the model file.

    Repeats only missing or damaged parts; two processes at once do it once. Raises InputError.
    """
    home = folder(found)
    if found.embedded:
        return found.build(home)
    with locked(home):
        remove_contents(home, f"**/{SCRATCH}*")  # of a process that was killed
        done = _completed(found)
        if done is None and (home / COMPLETE).exists():
            remove_contents(home)  # an older revision's
        damaged = _damaged(found, done) if done else []
        if done and not damaged:
            return home / str(done["model"])
        for path in damaged:
            path.unlink(missing_ok=True)
        model = found.build(home)
        files = {
            str(path.relative_to(home)): sha256_of(path)
            for path in sorted(home.rglob("*"))
            if path.is_file() and not path.is_symlink() and path.name not in (COMPLETE, LOCK)
        }
        done = {"stamp": found.stamp, "model": str(model.relative_to(home)), "files": files}
        write_atomically(home / COMPLETE, json.dumps(done, indent=1))
    return model


def _damaged(found: CatalogEntry, done: dict[str, Any]) -> list[Path]:
    """The files that are gone or differ from the fetched and built ones."""
    home = folder(found)
    return [
        home / name
        for name, digest in done["files"].items()
        if not (home / name).is_file() or sha256_of(home / name) != digest
    ]


def _completed(found: CatalogEntry) -> dict[str, Any] | None:
    """The notes of the last complete fetch of this revision, or None."""
    try:
        done = json.loads((folder(found) / COMPLETE).read_text(encoding="utf-8"))
        if done["stamp"] != found.stamp or not isinstance(done["files"], dict):
            return None
        return {"model": str(done["model"]), "files": done["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe(found: CatalogEntry, path: Path | None) -> list[tuple[str, str]]:
    """The description of an entry, for people; `path` is its file if it is fetched."""
    file = f"{path} ({path.stat().st_size / 1e6:.1f} MB)" if path else "not fetched yet"
    sources = [f"{wheel}, sha256 {wheel.sha256}" for wheel in found.wheels]
    return [
        ("name", found.name),
        ("description", found.summary),
        ("task", found.task_text),
        ("licence", found.licence),
        ("inputs", "\n".join(str(tensor) for tensor in found.inputs)),
        ("preprocessing", found.preprocessing),
        ("metric", found.metric or f"none: {found.metric_missing_reason}"),
        ("data", found.data),
        ("needs", ", ".join(found.needs) or "nothing more"),
        ("source", "\n".join(sources) or "ships with this package"),
        ("file", file),
    ]


def resolve(spec: ModelSpec, *, fetch_missing: bool = False) -> ResolvedModel:
    """Find the file, the shapes and the labelled data of a model.

    A catalog model that is not in the cache is fetched if `fetch_missing`. Raises InputError for an
    unknown name, a missing or unknown kind of file, and data that does not fit the model.
    """
    return resolve_file(spec, spec.path) if spec.path else _resolve_entry(spec, fetch_missing)


def _resolve_entry(spec: ModelSpec, fetch_missing: bool) -> ResolvedModel:
    found = entry(spec.name)
    if spec.metric and spec.metric != found.metric:
        raise InputError(
            f"model '{spec.name}': its metric is '{found.metric}' and cannot be set; "
            "leave 'metric' out"
        )
    path = fetched(found) or (fetch(found) if fetch_missing else None)
    if path is None:
        raise InputError(
            f"model '{spec.name}' is not fetched yet, or its files were changed since; run "
            f"'layeredge models fetch {spec.name}'"
        )
    reason = found.metric_missing_reason
    try:
        task = found.task(folder(found), spec.data)
    except CellSkipped as missing:
        task, reason = None, str(missing)
    training = _training(found, spec)
    shapes = {tensor.name: tensor.shape for tensor in found.inputs}
    for name in spec.shapes:
        if name not in shapes:
            raise unknown_name(f"input of {spec.name}", name, shapes)
        if spec.shapes[name] != shapes[name]:
            raise InputError(
                f"model '{spec.name}': input '{name}' is {list(shapes[name])} in the catalog, "
                f"found {list(spec.shapes[name])}; leave 'shapes' out"
            )
    if spec.batch is not None:
        single, shapes = shapes, with_batch(path, "onnx", shapes, spec.batch)
        batching = Batching(spec.batch, frozenset(n for n in shapes if shapes[n] != single[n]))
        task = BatchedTask(task, batching) if task else None
        training = batched(training, batching) if training else None
    files = hashed([path.name], path.parent)
    return ResolvedModel(
        name=spec.name,
        path=path,
        format="onnx",
        shapes=shapes,
        fingerprint=fingerprint(files, spec.data, found.stamp),
        files=files,
        task=task,
        task_missing_reason=None if task else reason,
        training=training,
        licence=found.licence,
    )


def _training(found: CatalogEntry, spec: ModelSpec) -> TrainingInputs | None:
    from harness.models.data.labelled_arrays import unlabelled_arrays

    if found.training:
        return found.training(spec.training)
    return unlabelled_arrays(spec.training, found.inputs) if spec.training else None
