"""The first stage of a model, before its cells: it is copied, imported once, and what the sweep has
to know of it is found out.

It runs in a cell's child process, see `harness.run.cell`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from harness.errors import CellFailure, HarnessError, in_words
from harness.models.snapshot import snapshot
from harness.models.state import declared_state
from harness.models.tensors import ValueRange
from harness.records.artifact import StateTensor, TensorDescription
from harness.specs.documents import Frozen

SOURCE = "source"
"""The folder, in a cell's own, with the copy of its model."""


class ImportOrder(Frozen):
    """An order to the child of a model's first stage."""

    model: Path
    files: dict[str, str]
    """The model's files, as `harness.models.snapshot` takes them."""
    shapes: dict[str, tuple[int, ...]]
    state: dict[str, str] = Field(default_factory=dict)
    """State that the user declares: inputs to the outputs that they are in the next inference."""
    work: Path


class ImportedModel(Frozen):
    """The result of importing a model: the copy that was imported; its tensors; the file that other
    engines run; which values inputs can have, by their names; and which outputs are integers that
    stand for real numbers."""

    source: Path
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    """None of a model that TVM cannot import."""
    runnable: Path
    ranges: dict[str, ValueRange] = Field(default_factory=dict)
    quantized: frozenset[str] = frozenset()
    state: tuple[StateTensor, ...] = ()
    """Inputs that are outputs of the inference before."""
    unkept: tuple[str, ...] = ()
    """Tensors that operators keep between inferences, of which the first is measured."""

    @property
    def remarks(self) -> Iterator[str]:
        """What to know of the state that the model keeps."""
        if self.state:
            pairs = ", ".join(f"{each.output} → {each.input}" for each in self.state)
            yield (
                f"its state is given and returned by each inference ({pairs}); an exported network "
                "keeps it"
            )
        if self.unkept:
            yield (
                f"its operators keep state in tensors ({', '.join(self.unkept)}); it is verified "
                "and measured in its first inference, and is not exported"
            )


def import_stage(order: ImportOrder) -> ImportedModel:
    """Import a model once, to know its inputs and to have the static file for the baselines. From
    here on a copy is used, which has the hash that the model was found with. Raises InputError for
    a model that is not what it should be, and CellFailure for one that TVM cannot import."""
    from harness.models.frontends import import_model
    from harness.models.quantized import quantized_outputs
    from harness.models.value_ranges import value_ranges

    source = snapshot(order.model, order.files, order.work / SOURCE)
    try:
        imported = import_model(source, order.shapes, order.work)
    except HarnessError:
        raise
    except Exception as error:
        # Parsers raise it at a file that they were not made for.
        raise CellFailure(f"{source}: cannot be imported: {in_words(error)}") from error
    runnable = imported.prepared or source
    return ImportedModel(
        source=source,
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.inputs),
        outputs=tuple(TensorDescription(**asdict(spec)) for spec in imported.outputs),
        runnable=runnable,
        ranges=value_ranges(imported),
        quantized=quantized_outputs(runnable),
        state=imported.state + declared_state(order.state, imported.inputs, imported.outputs),
        unkept=imported.unkept,
    )


def prepare_stage(order: ImportOrder) -> ImportedModel:
    """The same if TVM cannot import a model: the file that other engines run."""
    from harness.models.quantized import quantized_outputs
    from harness.run.runnable import runnable_model

    source = snapshot(order.model, order.files, order.work / SOURCE)
    found = runnable_model(source, order.shapes, order.work)
    return ImportedModel(
        source=source,
        inputs=tuple(TensorDescription(**asdict(spec)) for spec in found.inputs),
        outputs=(),
        state=found.state
        + tuple(StateTensor(input=name, output=after) for name, after in order.state.items()),
        runnable=found.path,
        quantized=quantized_outputs(found.path),
    )


MODEL_STAGES = {"import": import_stage, "prepare": prepare_stage}
"""By the name of their order."""
