"""The names of TVM that move from release to release, imported in one place.

Verified with apache-tvm 0.27.0.post1. Everything else in the package imports TVM from here.
"""

from __future__ import annotations

import os

# TVM's own logging of tuning details would drown the progress display.
os.environ.setdefault("TVM_LOG_DEBUG", "")

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import Op
from tvm.ir.expr import GenericConst as Constant
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.relax.frontend.onnx import from_onnx
from tvm.s_tir import meta_schedule
from tvm.s_tir.meta_schedule.relax_integration import (
    extract_tasks,
    extracted_tasks_to_tune_contexts,
)
from tvm.tirx import PrimFunc
from tvm_ffi import structural_equal, structural_walk

# How a kernel may fuse, as TVM's FuseOps reads it from the attribute `op_pattern`.
ELEMENTWISE, BROADCAST, INJECTIVE, REDUCTION, OUT_FUSABLE, OPAQUE = 0, 1, 2, 3, 4, 8


def constant_array(expr: relax.Expr) -> np.ndarray | None:
    """The values of a constant expression, or None when it is not a constant."""
    return expr.value.numpy() if isinstance(expr, Constant) else None


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression; raises ValueError when it is not static."""
    try:
        return tuple(int(extent) for extent in expr.ty.shape)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no static shape: {expr.ty}") from error


def dtype_of(expr: relax.Expr) -> str:
    """The element type of a tensor expression."""
    return str(expr.ty.dtype)


def operator_name(expr: relax.Expr) -> str:
    """`relax.add` and the like for a call of an operator, the empty text for anything else."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, Op):
        return str(expr.op.name)
    return ""


__all__ = [
    "BROADCAST",
    "ELEMENTWISE",
    "INJECTIVE",
    "OPAQUE",
    "OUT_FUSABLE",
    "REDUCTION",
    "Constant",
    "Op",
    "PrimFunc",
    "PyExprMutator",
    "constant_array",
    "dtype_of",
    "extract_tasks",
    "extracted_tasks_to_tune_contexts",
    "from_onnx",
    "meta_schedule",
    "mutator",
    "operator_name",
    "relax",
    "shape_of",
    "structural_equal",
    "structural_walk",
    "tirx",
    "tvm",
]
