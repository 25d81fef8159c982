"""Every change that this package makes to TVM in a process.

`PATCHES` lists them. When TVM is upgraded, go through the list: each entry says when it can go. No
other module changes TVM, which `tests/compiler/test_patches.py` checks.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.compiler.lean_import import lean_import


@dataclass(frozen=True)
class Patch:
    """One change: the function that makes it, its effect, its reason, and the condition under which
    it can go."""

    made_by: str
    effect: str
    reason: str
    until: str


PATCHES: tuple[Patch, ...] = (
    Patch(
        "compiler.lean_import.lean_import",
        "TVM is imported without PyTorch, accelerators' backends and its distributed runtime.",
        "Half of the time of an import, and 200 MB a process.",
        "`import tvm` imports no torch and takes under 0.7 s.",
    ),
    Patch(
        "unchecked",
        "Methods of `Schedule` do not check their arguments' types in Python.",
        "The checks take more than half of the time of building a schedule; C++ has its own.",
        "Building a schedule takes as long with the checks as without.",
    ),
    Patch(
        "silent_when_abandoned",
        "A `BlockBuilder` closes its block when an error ends a function.",
        "TVM writes to standard error about a block that stays open.",
        "An exception within `BlockBuilder.function` prints nothing.",
    ),
    Patch(
        "wrap_lowering",
        "Every lowering of scheduled kernels has passes of ours first, after its loops, and last.",
        "Maxima lose NaN, masks stay bit masks, named values are expanded at each use, and sums of "
        "a tile take memory of the runtime.",
        "The tests of `kernels/extrema.py`, `selections.py`, `named_values.py` and `stack.py` pass "
        "without it.",
    ),
    Patch(
        "lower_intrinsic",
        "exp, tanh, erf, sinh and cosh are lowered to arithmetic that vectorises.",
        "TVM calls the C library for each element.",
        "TVM vectorises them within 2 ULP.",
    ),
    Patch(
        "vectorise",
        "erf, nearbyint and rsqrt may be computed in vectors.",
        "TVM writes a loop over the elements of a vector for each kernel that contains one.",
        "TVM's operators have the attribute `TVectorizable`.",
    ),
    Patch(
        "load_tensor_intrinsics",
        "`tvm.s_tir.tensor_intrin` is a package without its own imports.",
        "Parsing CUDA's intrinsics takes 20 s in every process.",
        "`import tvm.s_tir.tensor_intrin` takes under a second.",
    ),
    Patch(
        "register_context_symbol",
        "Compiled code calls our functions for loops, and for guarded intermediate results.",
        "TVM's threads start a loop in 1 to 2 µs; its allocator cannot be guarded.",
        "`benchmarks/fork_join.py` shows no gain. Guards have no other way.",
    ),
    Patch(
        "register_function",
        "TVM asks our callback for CUDA code; our servers answer which machine they are.",
        "TVM compiles in every process anew, and drops the assembler's output.",
        "Not a change of behaviour for others: documented extension points.",
    ),
    Patch(
        "register_operator",
        "TVM knows functions of ours that stand for differences and comparisons of floats, and for "
        "products of bytes.",
        "Its simplifier takes floats for real numbers, and its vectors have no products of bytes.",
        "The tests of `kernels/shielded.py` pass without it, and TVM vectorises products of bytes.",
    ),
)


def unchecked(schedule: type) -> None:
    """Let a schedule's methods go without TVM's check of each argument's type in Python."""
    for name, method in list(vars(schedule).items()):
        if plain := getattr(method, "__wrapped__", None):
            setattr(schedule, name, plain)


def silent_when_abandoned(builder: Any) -> None:
    """Let a function that an error ends close its block."""
    leave = builder._exit_function_scope

    def left(self: Any, kind: object, value: object, trace: object) -> None:
        if kind is not None:
            self._end_block()
        leave(self, kind, value, trace)

    builder._exit_function_scope = left


def wrap_lowering(
    first: Callable[[], Any], lowered: Callable[[], Any], last: Callable[[], Any]
) -> None:
    """Have TVM begin every lowering of scheduled kernels with a pass of ours, run another on the
    lowered loops, and end, for processors and devices, with a third."""
    with lean_import():
        import tvm
        from tvm.tirx import compilation_pipeline

    default = compilation_pipeline.PIPELINE_MAP["s_tir"]

    def pipeline() -> tuple[Any, Callable[[], Any], Callable[[], Any]]:
        lower, host, device = default()
        sequence = tvm.transform.Sequential
        return (
            sequence([first(), lower, lowered()]),
            lambda: sequence([host(), last()]),
            lambda: sequence([device(), last()]),
        )

    compilation_pipeline.register_tir_pipeline("s_tir", pipeline)


def lower_intrinsic(name: str, rule: Callable[[Any], Any], level: int) -> None:
    """Have calls of an intrinsic, as `tirx.exp`, lowered by a rule in code for processors. TVM
    admits one rule of a level."""
    with lean_import():
        from tvm import tirx

    tirx.register_intrin_lowering(name, "llvm", f=rule, level=level)


def load_tensor_intrinsics(architecture: str) -> None:
    """Register TVM's tensor intrinsics of one architecture, such as `x86`: MetaSchedule imports
    those of every architecture. The package is put in place without running its own imports."""
    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        found = importlib.util.find_spec(name)
        assert found is not None and found.submodule_search_locations is not None
        package = types.ModuleType(name)
        package.__path__ = list(found.submodule_search_locations)
        package.__spec__ = found
        sys.modules[name] = package
    importlib.import_module(f"{name}.{architecture}")


def register_context_symbol(name: bytes, function: Any) -> bool:
    """Have code that TVM loads from now on call a C function under one of TVM's names. Whether TVM
    takes it."""
    with lean_import():
        import tvm_ffi

    interface = ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi())
    address = ctypes.cast(function, ctypes.c_void_p)
    return not interface.TVMFFIEnvModRegisterContextSymbol(name, address)


def register_function(name: str, function: Callable[..., Any]) -> None:
    """Have TVM call a Python function under a global name."""
    with lean_import():
        import tvm_ffi

    tvm_ffi.register_global_func(name, function, override=True)


def vectorise(name: str) -> None:
    """Let TVM compute a function of numbers in vectors."""
    with lean_import():
        from tvm.ir import register_op_attr

    register_op_attr(name, "TVectorizable", True)


def register_operator(name: str) -> None:
    """Make a pure function of numbers known to TVM, which may compute it in vectors."""
    with lean_import():
        from tvm.ir import Op, register_op_attr

    pure = Op.get("tirx.exp").get_attr("TCallEffectKind")
    vectorise(name)
    register_op_attr(name, "TCallEffectKind", pure)
    register_op_attr(name, "TScriptPrinterName", name)
