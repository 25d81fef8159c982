"""The converters of ONNX operators that TVM lacks, or converts to something else than ONNX says."""

from __future__ import annotations

from harness.models.onnx.operators.arithmetic import ARITHMETIC
from harness.models.onnx.operators.attention import ATTENTION
from harness.models.onnx.operators.converter import Converter
from harness.models.onnx.operators.convolution import CONVOLUTION
from harness.models.onnx.operators.fused import FUSED
from harness.models.onnx.operators.grouped_attention import GROUPED_ATTENTION
from harness.models.onnx.operators.movement import MOVEMENT
from harness.models.onnx.operators.normalisation import NORMALISATION
from harness.models.onnx.operators.quantized import QUANTIZED
from harness.models.onnx.operators.quantized_recurrent import QUANTIZED_RECURRENT
from harness.models.onnx.operators.quantized_runtime import QUANTIZED_RUNTIME
from harness.models.onnx.operators.recurrent import RECURRENT
from harness.models.onnx.operators.reductions import REDUCTIONS
from harness.models.onnx.operators.regions import REGIONS
from harness.models.onnx.operators.resize import RESIZE
from harness.models.onnx.operators.sequences import SEQUENCES
from harness.models.onnx.operators.spectral import SPECTRAL
from harness.models.onnx.operators.windows import WINDOWS

CONVERTERS: dict[str, Converter] = {
    **ARITHMETIC,
    **ATTENTION,
    **CONVOLUTION,
    **FUSED,
    **GROUPED_ATTENTION,
    **MOVEMENT,
    **NORMALISATION,
    **QUANTIZED,
    **QUANTIZED_RECURRENT,
    **QUANTIZED_RUNTIME,
    **RECURRENT,
    **REDUCTIONS,
    **REGIONS,
    **RESIZE,
    **SEQUENCES,
    **SPECTRAL,
    **WINDOWS,
}
