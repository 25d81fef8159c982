"""The first stage of a model, before its cells: what the sweep has to know of it.

It runs in a cell's child process, see `harness.cell`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from harness.artifact import TensorDescription
from harness.documents import Frozen
from harness.models.tensors import ValueRange


class ImportOrder(Frozen):
    """What the child of a model's first stage is asked to do."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    work: Path


class ImportedModel(Frozen):
    """What importing says of a model: its tensors; the file that other engines run; which values
    inputs can have, by their names; and which outputs are integers that stand for real numbers."""

    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    """None of a model that TVM cannot import."""
    runnable: Path
    ranges: dict[str, ValueRange] = Field(default_factory=dict)
    quantized: frozenset[str] = frozenset()


def import_stage(order: ImportOrder) -> ImportedModel:
    """Import a model once, to know its inputs and to have the static file for the baselines."""
    from harness.models.imported import import_model
    from harness.models.quantized import quantized_outputs
    from harness.models.value_ranges import value_ranges

    imported = import_model(order.model, order.shapes, order.work)
    runnable = imported.prepared or order.model
    return ImportedModel(
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.inputs),
        outputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.outputs),
        runnable=runnable,
        ranges=value_ranges(imported),
        quantized=quantized_outputs(runnable),
    )


def prepare_stage(order: ImportOrder) -> ImportedModel:
    """The same where TVM cannot import a model: what other engines take and run."""
    from harness.models.quantized import quantized_outputs
    from harness.models.runnable import runnable_model

    found = runnable_model(order.model, order.shapes, order.work)
    return ImportedModel(
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in found.inputs),
        outputs=(),
        runnable=found.path,
        quantized=quantized_outputs(found.path),
    )


MODEL_STAGES = {"import": import_stage, "prepare": prepare_stage}
"""By the name of their order."""
