"""Which operator of a network TVM fails on.

Passes, schedules and code generation fail in the words of TVM's source, about kernels of which no
model file knows. Here the network is taken apart after such a failure: the first operator that
fails alone in the same way is the one to name.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from harness.building.network import machine_of
from harness.compiler.api import operator_name, relax, structural_hash, target_of, tvm
from harness.errors import CellFailure, HarnessError, NoKernel, is_of_full_disk
from harness.models.imported import Imported, Node
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN, variables_of
from harness.specs.target import TvmTarget

_PACKAGES = frozenset({"tvm", "tvm_ffi"})
_SECONDS = 120.0
"""For the whole search; a network whose operators take longer is not told apart."""


@contextmanager
def blaming(imported: Imported, target: TvmTarget) -> Iterator[None]:
    """Turn TVM's error about a network into a CellFailure in our own words: the operator and
    node that it fails on, or that it fails on none of them alone. Other errors pass, and those of a
    full disk. Operators are compiled for `target`."""
    try:
        yield
    except NoKernel as error:
        raise _blamed(imported, target) or error from error
    except Exception as error:
        if not _is_from_tvm(error) or is_of_full_disk(error):
            raise
        raise _blamed(imported, target) or CellFailure(
            f"TVM fails on the network ({type(error).__name__}), though it compiles each of its "
            "operators alone"
        ) from error


def _is_from_tvm(error: Exception) -> bool:
    """Whether an error came through TVM, in C++ or Python: its text is for TVM's authors."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = {str(frame.f_globals.get("__name__", "")).split(".")[0] for frame in frames}
    return not isinstance(error, HarnessError) and not modules.isdisjoint(_PACKAGES)


def _blamed(imported: Imported, target: TvmTarget) -> CellFailure | None:
    compiled_for = target_of(target.as_tvm())
    for attempt in (_legalised, lambda module: machine_of(_legalised(module), compiled_for, 1)):
        found = _first_failing(imported, attempt)
        if found is not None:
            name, failure = found
            return CellFailure(f"{name} cannot be compiled: {_reason(failure)}")
    return None


def _reason(failure: Exception) -> str:
    if isinstance(failure, NoKernel):
        return "TVM has no kernel for it; cut the model before it"
    if isinstance(failure, HarnessError):
        return str(failure)
    return "TVM fails on an operator of this form"


def _legalised(module: tvm.IRModule) -> tvm.IRModule:
    return fuse(canonicalise(module), "none")


def _first_failing(
    imported: Imported, attempt: Callable[[tvm.IRModule], object]
) -> tuple[str, Exception] | None:
    end = time.monotonic() + _SECONDS / 2
    for binding, name in _operators(imported.module, imported.nodes):
        if time.monotonic() > end:
            return None
        try:
            attempt(_alone(binding))
        except Exception as error:
            # Any error: only the operator matters.
            return name, error
    return None


def _operators(
    module: tvm.IRModule, nodes: Mapping[str, Node]
) -> Iterator[tuple[relax.VarBinding, str]]:
    """The calls of a network, equal ones once, with names for messages."""
    bindings = [binding for block in module[MAIN].body.blocks for binding in block.bindings]
    named, name = [], ""
    for binding in reversed(bindings):
        if (node := nodes.get(str(binding.var.name))) is not None:
            name = str(node)
        named.append((binding, name))
    seen: set[int] = set()
    for binding, name in reversed(named):
        if not isinstance(binding.value, relax.Call):
            continue
        alone = structural_hash(_alone(binding)[MAIN])
        if alone not in seen:
            seen.add(alone)
            own = operator_name(binding.value).removeprefix("relax.")
            yield binding, name or f"an operator {own}"


def _alone(binding: relax.VarBinding) -> tvm.IRModule:
    """A network of one call."""
    builder = relax.BlockBuilder()
    arguments = list(dict.fromkeys(variables_of(binding.value)))
    with builder.function(MAIN, arguments):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(binding.value))
        builder.emit_func_output(result)
    return builder.get()
