"""The first stage of a model's cells: it is copied, and imported once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from harness.artifact import TensorDescription
from harness.documents import Frozen
from harness.errors import HarnessError, InputError
from harness.models.foreign_errors import first_line
from harness.models.snapshot import snapshot

SOURCE = "source"
"""The folder, in a cell's own, with the copy of its model."""


class ImportOrder(Frozen):
    """What the child of a model's first stage is asked to do."""

    model: Path
    files: dict[str, str]
    """What the model is made of, as `harness.models.snapshot` takes it."""
    shapes: dict[str, tuple[int, ...]]
    work: Path


class ImportedModel(Frozen):
    """What importing says of a model: the copy that was imported, its tensors, and the file that
    other engines run."""

    source: Path
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    runnable: Path


def import_stage(order: ImportOrder) -> ImportedModel:
    """Import a model once, to know its inputs and to have the static file for the baselines. From
    here on a copy is used, which has the hash that the model was found with. Raises InputError."""
    from harness.models.imported import import_model

    source = snapshot(order.model, order.files, order.work / SOURCE)
    try:
        imported = import_model(source, order.shapes, order.work)
    except HarnessError:
        raise
    except Exception as error:
        # What parsers raise at a file that they were not made for.
        words = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{source}: cannot be imported: {words}") from error
    return ImportedModel(
        source=source,
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.inputs),
        outputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.outputs),
        runnable=imported.prepared or source,
    )
