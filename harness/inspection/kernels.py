"""Shows the kernels of a fused model: their operators, and the cost of a call."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.building.blame import blaming
from harness.building.network import flops, moved_bytes
from harness.compiler.api import operator_name, relax, target_of, tvm
from harness.errors import CellFailure, HarnessError, last_line, unknown_name
from harness.files.regular import expanded
from harness.models.catalog import entries as catalog
from harness.models.frontends import import_model
from harness.models.imported import Imported
from harness.models.resolved import ResolvedModel
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels, summarise
from harness.passes.rewriter import MAIN
from harness.records.artifact import StateTensor
from harness.records.record import Fusion
from harness.specs.documents import Frozen
from harness.specs.sweep import FusionLevel, ModelSpec
from harness.specs.target import TargetSpec


class InspectedKernel(Frozen):
    """One kernel of a fused network. `flops` and `bytes` (every distinct byte that is read or
    written, once) are per call; `intensity` is their quotient, in FLOP per byte."""

    name: str
    operators: tuple[str, ...]
    calls: int
    flops: float
    bytes: float
    intensity: float
    output_shapes: tuple[tuple[int, ...], ...]
    stray: bool


class Inspection(Frozen):
    """The kernels of a model at a fusion level, in the order of their first call.

    `total_flops` and `total_bytes` are those of one inference. `state` has the inputs that
    are outputs of the inference before, and `unkept` tensors that operators keep between
    inferences: the kernels are those of the first.
    """

    model: str
    target: str
    level: FusionLevel
    fusion: Fusion
    kernels: tuple[InspectedKernel, ...]
    total_flops: float
    total_bytes: float
    state: tuple[StateTensor, ...] = ()
    unkept: tuple[str, ...] = ()


def inspect(
    model: str, level: FusionLevel, target: TargetSpec, shapes: Mapping[str, tuple[int, ...]]
) -> Inspection:
    """Import and fuse a model, a catalog name or a path, as a sweep would; nothing is compiled.

    `shapes` gives an input, by name, its static shape. Raises InputError for a model that is
    unknown, not fetched or cannot be imported, and CellFailure for one that cannot be fused.
    """
    imported = import_named(model, shapes)
    groups = _Groups()
    with reported_as(f"{model}: cannot be fused"), blaming(imported, target.tvm):
        compiled_for = target_of(target.tvm.as_tvm())
        network = adapt(
            canonicalise(imported.module, imported.layer_names), target.passes, compiled_for
        )
        with tvm.transform.PassContext(instruments=[groups]):
            fused = fuse(network, level, compiled_for)
        fusion = summarise(network, fused)
        shown = _kernels(fused, fusion, groups.members)
    return Inspection(
        model=model,
        target=target.name,
        level=level,
        fusion=fusion,
        kernels=shown,
        total_flops=sum(kernel.calls * kernel.flops for kernel in shown),
        total_bytes=sum(kernel.calls * kernel.bytes for kernel in shown),
        state=imported.state,
        unkept=imported.unkept,
    )


def import_named(model: str, shapes: Mapping[str, tuple[int, ...]]) -> Imported:
    """Import a model, a catalog name or a path. Raises InputError for one that is unknown, not
    fetched or cannot be imported."""
    found = _find(model, shapes)
    with tempfile.TemporaryDirectory() as work:
        return import_model(found.path, found.shapes, Path(work))


@contextlib.contextmanager
def reported_as(failure: str) -> Iterator[None]:
    """Turns errors of TVM's passes at a network that they cannot handle into a
    CellFailure that begins with `failure`."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise CellFailure(f"{failure}: {type(error).__name__}: {last_line(error)}") from error


def _find(model: str, shapes: Mapping[str, tuple[int, ...]]) -> ResolvedModel:
    if model in catalog.names():
        return catalog.resolve(ModelSpec(name=model, shapes=dict(shapes)))
    path = expanded(model)
    if "/" not in model and not path.suffix:
        raise unknown_name("model", model, catalog.names())
    return catalog.resolve(ModelSpec(name="model", path=path, shapes=dict(shapes)))


@tvm.instrument.pass_instrument
class _Groups:
    """Listens to the passes of fusion, and notes which operators' kernels each group is made of.

    A fused kernel's name does not tell it: `conv2d_transpose_add` is two operators or three.
    """

    members: dict[str, tuple[str, ...]]

    def __init__(self) -> None:
        self.members = {}

    def run_before_pass(self, module: tvm.IRModule, info: object) -> None:
        """Groups are functions of Relax until FuseTIR makes a kernel of each."""
        if getattr(info, "name", "") != "FuseTIR":
            return
        for variable, function in module.functions.items():
            if isinstance(function, relax.Function) and variable.name_hint != MAIN:
                self.members[variable.name_hint] = tuple(
                    member
                    for callee in _called(function)
                    for member in self.members.get(callee, (callee,))
                )


def _called(function: relax.Function) -> list[str]:
    """The kernels that a function calls, in order."""
    return [
        str(binding.value.args[0].name_hint)
        for block in function.body.blocks
        for binding in block.bindings
        if operator_name(binding.value) == "relax.call_tir"
    ]


def _kernels(
    fused: tvm.IRModule, fusion: Fusion, members: Mapping[str, tuple[str, ...]]
) -> tuple[InspectedKernel, ...]:
    shapes = _output_shapes(fused)
    found = []
    for kernel in kernels(fused):
        operations, moved = flops(kernel.function), moved_bytes(kernel.function)
        found.append(
            InspectedKernel(
                name=kernel.name,
                operators=tuple(map(_operator, members.get(kernel.name, (kernel.name,)))),
                calls=kernel.calls,
                flops=operations,
                bytes=moved,
                intensity=operations / moved if moved else 0.0,
                output_shapes=shapes[kernel.name],
                stray=kernel.name in fusion.stray,
            )
        )
    return tuple(found)


def _operator(kernel: str) -> str:
    """The operator of an unfused kernel, whose name ends in the number that makes it unique."""
    return re.sub(r"\d+$", "", kernel).removeprefix("tir_")


def _output_shapes(fused: tvm.IRModule) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Kernel name to the shapes of its outputs."""
    found = {}
    for block in fused[MAIN].body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value) == "relax.call_tir":
                written = binding.var.ty
                tensors = written.fields if isinstance(written, relax.TupleType) else [written]
                found[str(binding.value.args[0].name_hint)] = tuple(
                    tuple(int(extent) for extent in tensor.shape) for tensor in tensors
                )
    return found
