"""The names of TVM that move from release to release, imported in one place.

Verified with apache-tvm 0.27.0.post1. Everything else in the package imports TVM from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.compiler.code_kinds import CODE_KINDS, CodeKind
from harness.compiler.lean_import import lean_import
from harness.compiler.patches import silent_when_abandoned, unchecked

with lean_import():
    import tvm
    from tvm import relax, te, tirx, topi
    from tvm.backend import loader as backends
    from tvm.ir import Op
    from tvm.ir.expr import GenericConst as Constant
    from tvm.ir.expr import TensorLoad
    from tvm.ir.utils import derived_object
    from tvm.relax.backend.cpu_generic import pipeline as processor_pipeline
    from tvm.relax.backend.cuda import pipeline as cuda_pipeline
    from tvm.relax.op.grad import no_grad as no_gradient
    from tvm.s_tir import SBlock, SBlockRealize, Schedule, meta_schedule
    from tvm.s_tir.analysis import estimate_tir_flops
    from tvm.s_tir.meta_schedule.arg_info import ArgInfo
    from tvm.s_tir.meta_schedule.relax_integration import extract_tasks
    from tvm.s_tir.schedule import Trace
    from tvm.sym import Analyzer
    from tvm.tirx import PrimFunc, compilation_pipeline
    from tvm_ffi import (
        libinfo,
        structural_equal,
        structural_hash,
        structural_map,
        structural_mutate,
        structural_walk,
    )


unchecked(Schedule)
silent_when_abandoned(relax.BlockBuilder)

_PIPELINES = {"llvm": processor_pipeline, "cuda": cuda_pipeline}
# Kinds of targets that TVM compiles for with the help of Python.
_BACKENDS = ("cuda", "opencl")
# How a kernel may fuse, as TVM's FuseOps reads it from the attribute `op_pattern`.
OUT_FUSABLE, OPAQUE = 4, 8
UNCHECKED = {"tirx.disable_assert": True}
"""Leaves out a kernel's checks of its arguments: a third of its code, and of the time to compile
it. The virtual machine checks those of a network."""
INCLUDE = libinfo.find_include_path()
"""The folder of the headers of TVM's calling convention."""
# Passes that replace a function's buffers by the packed arguments of TVM's calling convention.
_PACKING = ["tirx.MakePackedAPI", "tirx.FP8StorageLegalize", "tirx.BF16StorageLegalize"]


def default_legalisation(name: str) -> Any:
    """TVM's own rule that writes an operator as a kernel: a function of builder and call."""
    return tvm.ir.Op.get(name).get_attr("FLegalize")


def constant(values: np.ndarray) -> relax.Constant:
    """A constant of an array's own type; `relax.const` makes int64 and float64 32 bits wide."""
    return relax.const(values, str(values.dtype))


def constant_array(expr: relax.Expr) -> np.ndarray | None:
    """The values of a constant expression, to read only, or None when it is not a constant."""
    return values_of(expr) if isinstance(expr, Constant) else None


def values_of(constant: Constant) -> np.ndarray:
    """The values of a constant, to read only.

    They are the constant's own memory, because a network's weights can take half of what there is.
    Types that NumPy has from elsewhere, such as bfloat16, are copied: it takes no memory of these.
    """
    try:
        values = np.from_dlpack(constant.value)
    except RuntimeError:
        values = constant.value.numpy()
    values.flags.writeable = False
    return values


def constant_number(expr: relax.Expr) -> float | None:
    """The value of a constant expression of one element; None of any other expression."""
    array = constant_array(expr)
    return float(array.item()) if array is not None and array.size == 1 else None


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression; raises ValueError when it is not static."""
    try:
        return tuple(int(extent) for extent in expr.ty.shape)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"no static shape: {expr.ty}") from error


def operator_name(expr: relax.Expr) -> str:
    """`relax.add` and the like for a call of an operator, the empty text for anything else."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, Op):
        return str(expr.op.name)
    return ""


def target_of(description: str | dict[str, Any], **host: Any) -> tvm.target.Target:
    """A target by TVM's description of it, with TVM's backend for its kind loaded."""
    target = tvm.target.Target(description, **host)
    if str(target.kind.name) in _BACKENDS:
        backends.load(str(target.kind.name))
    return target


def code_kind(target: tvm.target.Target) -> CodeKind:
    """The kind of code of a target; code of any other kind is taken for a processor's."""
    return CODE_KINDS.get(str(target.kind.name), CODE_KINDS["llvm"])


def triple_of(target: tvm.target.Target) -> str | None:
    """The triple of a processor's code: a graphics processor's is that of its host."""
    processor = target if code_kind(target).in_process_memory else target.host
    known = processor is not None and "mtriple" in processor.attrs
    return str(processor.attrs["mtriple"]) if known else None


def is_processor(target: tvm.target.Target) -> bool:
    """Whether LLVM compiles the code of a target: its kernels too, not its host's code alone."""
    return str(target.kind.name) == "llvm"


def features_of(target: tvm.target.Target) -> frozenset[str]:
    """Every LLVM feature that code for a processor may use; none for a graphics processor."""
    if not is_processor(target):
        return frozenset()
    return frozenset(map(str, tvm.target.codegen.llvm_get_cpu_features(target)))


def lowering_passes(target: tvm.target.Target) -> tuple[list[Any], list[Any]]:
    """TVM's passes on a network of scheduled kernels before it is compiled: those that lower its
    data flow, and those after them."""
    pipeline = _PIPELINES[code_kind(target).name]
    return pipeline.dataflow_lower_passes(target), pipeline.finalize_passes(target)


def opencl_modules(kernel: PrimFunc, target: tvm.target.Target) -> tuple[PrimFunc, Any]:
    """A scheduled kernel, lowered for a target of OpenCL: the function that allocates intermediate
    results and launches its parts, which still has buffers for parameters, and a compiled module of
    the parts. Raises TVM's error for features that OpenCL lacks."""
    name = "kernel"
    module = tvm.IRModule({name: kernel.with_attr("global_symbol", name)})
    lower, _, finalize = tirx.get_default_tir_pipeline(target)
    with target, tvm.transform.PassContext(opt_level=3, disabled_pass=_PACKING):
        lowered = dict(lower(tirx.transform.BindTarget(target)(module)).functions_items())
    host = next(each for key, each in lowered.items() if key.name_hint == name)
    parts = {key: each for key, each in lowered.items() if key.name_hint != name}
    compile_parts = tvm.get_global_func("target.build.opencl")
    return host, compile_parts(finalize()(tvm.IRModule(parts)), target)


def dlight_rules() -> Any:
    """TVM's default schedules for graphics processors, the most specific first, as a pass."""
    from tvm.s_tir import dlight

    gpu = dlight.gpu
    return dlight.ApplyDefaultSchedule(
        gpu.Matmul(),
        gpu.GEMV(),
        gpu.Reduction(),
        gpu.GeneralReduction(),
        gpu.Transpose(),
        gpu.Fallback(),
    )


def dlight_fallback() -> Any:
    """The last of them alone, which takes every kernel."""
    from tvm.s_tir import dlight

    return dlight.ApplyDefaultSchedule(dlight.gpu.Fallback())


def trace_json(trace: Trace) -> list[Any]:
    """A schedule's trace, `[instructions, decisions]`, as JSON has it."""
    found: list[Any] = _plain(trace.as_json())
    return found


def record_json(record: meta_schedule.database.TuningRecord) -> list[Any]:
    """A tuning record, as JSON has it: `[trace, seconds, target, arguments]`. TVM's own `as_json`
    fails where the trace changes a layout."""
    arguments = [info.as_json() for info in record.args_info]
    rest = _plain([list(record.run_secs or ()), record.target.export(), arguments])
    return [trace_json(record.trace), *rest]


def _plain(value: Any) -> Any:
    """TVM's JSON values as Python's own lists, dictionaries and numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, (tirx.IntImm, tirx.FloatImm)) else value


def intrinsics_of(target: tvm.target.Target) -> str:
    """The architecture whose tensor intrinsics MetaSchedule asks for, for a target."""
    return "arm_cpu" if str(target.attrs.get("mtriple", "")).startswith("aarch64") else "x86"


__all__ = [
    "INCLUDE",
    "OPAQUE",
    "OUT_FUSABLE",
    "UNCHECKED",
    "Analyzer",
    "ArgInfo",
    "Constant",
    "Op",
    "PrimFunc",
    "SBlock",
    "SBlockRealize",
    "Schedule",
    "TensorLoad",
    "Trace",
    "code_kind",
    "compilation_pipeline",
    "constant",
    "constant_array",
    "default_legalisation",
    "derived_object",
    "dlight_fallback",
    "dlight_rules",
    "estimate_tir_flops",
    "extract_tasks",
    "features_of",
    "intrinsics_of",
    "is_processor",
    "lowering_passes",
    "meta_schedule",
    "no_gradient",
    "opencl_modules",
    "operator_name",
    "relax",
    "shape_of",
    "structural_equal",
    "structural_hash",
    "structural_map",
    "structural_mutate",
    "structural_walk",
    "target_of",
    "te",
    "tirx",
    "topi",
    "trace_json",
    "triple_of",
    "tvm",
    "values_of",
]
