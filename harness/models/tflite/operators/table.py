"""The converters of TFLite operators that TVM lacks, or converts to something else than LiteRT
computes."""

from __future__ import annotations

from harness.models.tflite.operation import Converter
from harness.models.tflite.operators.arithmetic import ARITHMETIC
from harness.models.tflite.operators.movement import MOVEMENT
from harness.models.tflite.operators.quantizing import QUANTIZING
from harness.models.tflite.operators.recurrent import RECURRENT
from harness.models.tflite.operators.reductions import REDUCTIONS
from harness.models.tflite.operators.refused import REFUSED
from harness.models.tflite.operators.resize import RESIZE
from harness.models.tflite.operators.weighted import WEIGHTED

CONVERTERS: dict[str, Converter] = {
    **ARITHMETIC,
    **MOVEMENT,
    **QUANTIZING,
    **RECURRENT,
    **REDUCTIONS,
    **REFUSED,
    **RESIZE,
    **WEIGHTED,
}
