"""TVM's importer of TFLite models; needs the extra `tflite`."""

from __future__ import annotations

from tvm.relax.frontend.tflite import from_tflite
from tvm.relax.frontend.tflite.tflite_frontend import (
    ExprTable,
    OperatorConverter,
    TensorWrapper,
)

__all__ = ["ExprTable", "OperatorConverter", "TensorWrapper", "from_tflite"]
