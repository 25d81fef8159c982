"""A model as engines other than TVM run it, which takes no import by TVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.baselines.registry import open_session, reference_engine
from harness.errors import HarnessError
from harness.models.formats import format_of
from harness.models.imported import require_shapes
from harness.models.tensors import TensorSpec
from harness.records.artifact import StateTensor


@dataclass(frozen=True)
class Runnable:
    """A file that the engines of its format run, its inputs in their order, and its state."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    state: tuple[StateTensor, ...] = ()


def runnable_model(path: Path, shapes: Mapping[str, tuple[int, ...]], work: Path) -> Runnable:
    """A `.onnx`, `.pt2` or `.tflite` file with static shapes, and the inputs that the reference
    engine of its format reads from it.

    `shapes` gives an input, by name, its static shape; prepared files are written below
    `work`. Raises InputError when the file does not match its suffix or a dimension is left
    dynamic, CellSkipped when the engine is not installed, and CellFailure when it cannot load the
    model.
    """
    format = format_of(path)
    runnable = path
    state: tuple[StateTensor, ...] = ()
    if format == "onnx":
        from harness.models.onnx.shapes import write_static

        runnable = write_static(path, shapes, work)
    elif format == "tflite":
        from harness.models.tflite.shapes import static_file
        from harness.models.tflite.state import explicit_state

        runnable, state = explicit_state(static_file(path, shapes, work), work)
    try:
        inputs = open_session(reference_engine(format), runnable, threads=1).inputs
    except HarnessError as error:
        # The user knows the file that was read, not the one that was written for it.
        raise type(error)(str(error).replace(str(runnable), str(path))) from None
    require_shapes(shapes, inputs, path)
    return Runnable(runnable, inputs, state)
