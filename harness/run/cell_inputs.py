"""Inputs of a model that its cells are built with, as files that their processes read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.files.arrays import write_arrays
from harness.measure.inputs import verification_inputs
from harness.models.data.task import SAMPLES_REVISION
from harness.models.tensors import TensorSpec, ValueRange
from harness.records.record import fingerprint
from harness.run.model_process import DistantInputs, DistantTask, KnownModel
from harness.specs.sweep import Configuration


class CellInputs:
    """The inputs of one model, each file written once below `work`."""

    def __init__(self, model: KnownModel, work: Path, seed: int) -> None:
        self._model = model
        self._work = work
        self._seed = seed

    def of_kernels(self, inputs: Sequence[TensorSpec], ranges: Mapping[str, ValueRange]) -> Path:
        """One input of the model, a real one where there is data."""
        path = self._work / "kernel-inputs.npz"
        feeds, _ = verification_inputs(self._model.task, inputs, 1, self._seed, ranges)
        write_arrays(path, [list(row.items()) for row in feeds])
        return path

    def for_calibration(self, configuration: Configuration) -> Path | None:
        """Real inputs to calibrate on, as many as its steps ask for, where there are any."""
        training = self._model.training
        source = training or self._model.task
        count = max((options.samples for options in configuration.steps.values()), default=0)
        if not count or source is None:
            return None
        of = training.fingerprint[:12] if training else f"{SAMPLES_REVISION}"
        return self._kept(f"calibration-{count}-{of}", source, count)

    def for_training(self, configuration: Configuration) -> Path | None:
        """All training inputs, where a step takes them and there are any."""
        source = self._model.training
        if source is None or not any(each.trains for each in configuration.steps.values()):
            return None
        return self._kept(f"training-{source.fingerprint[:12]}", source)

    def _kept(
        self, name: str, source: DistantTask | DistantInputs, count: int | None = None
    ) -> Path:
        shapes = fingerprint(self._model.shapes)  # cells of other batches are in the same folder
        path = self._work / f"{name}-{shapes}.npz"
        if not path.exists():
            source.write(count, path)
        return path
