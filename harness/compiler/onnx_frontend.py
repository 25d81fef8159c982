"""TVM's importer of ONNX graphs."""

from __future__ import annotations

from harness.compiler.lean_import import lean_import

with lean_import():
    from tvm.relax.frontend.onnx.onnx_frontend import (
        ONNXGraphImporter,
        onnx_input,
    )
    from tvm.relax.frontend.onnx.onnx_frontend import (
        _get_convert_map as convert_map,
    )

__all__ = ["ONNXGraphImporter", "convert_map", "onnx_input"]
