"""The judges by format."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from harness.errors import first_line
from harness.judges.base import CannotJudge, Evaluation
from harness.models.formats import Format


@dataclass(frozen=True)
class JudgeOf:
    """Where a format's evaluation is, and its name in a sentence: `… has 0.1, float64
    0.2`."""

    module: str
    evaluation: str
    title: str


JUDGES: dict[Format, JudgeOf] = {
    "onnx": JudgeOf("harness.judges.onnx_float64", "OnnxFloat64", "float64"),
    "torch": JudgeOf("harness.judges.torch_float64", "TorchFloat64", "float64"),
    "tflite": JudgeOf(
        "harness.judges.litert_kernels", "LiteRtKernels", "LiteRT's reference kernel"
    ),
}


def open_evaluation(format: Format, path: Path) -> Evaluation:
    """Load a network into its format's judge. Raises CannotJudge."""
    found = JUDGES[format]
    try:
        return cast(
            Evaluation, getattr(importlib.import_module(found.module), found.evaluation)(path)
        )
    except CannotJudge:
        raise
    except Exception as error:
        # A missing package, or whatever a library raises for a network it does not take.
        raise CannotJudge(f"{path.name} is not evaluated: {first_line(error)}") from error
