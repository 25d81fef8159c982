"""TVM's builder of TIR functions."""

from __future__ import annotations

from harness.compiler.lean_import import lean_import

with lean_import():
    import tvm
    from tvm.script.ir_builder import IRBuilder
    from tvm.script.ir_builder import tirx as T

__all__ = ["IRBuilder", "T", "tvm"]
