"""Fusion levels: which operators share a kernel.

- `none`: every operator is a kernel of its own.
- `elementwise`: chains of elementwise, broadcast and layout operators share a kernel, beside the
  convolutions and dense layers, which stay alone.
- `full`: elementwise operators after a convolution, dense layer or reduction run in its
  kernel, and kernels that only move data (padding, transposes) disappear into their neighbour;
  the padding of depthwise convolutions and pools needs no copy either (`padding.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from harness.compiler.api import (
    OPAQUE,
    OUT_FUSABLE,
    Constant,
    PrimFunc,
    code_kind,
    operator_name,
    relax,
    tvm,
)
from harness.compiler.names import name_of
from harness.errors import NoKernel
from harness.kernels.blocks import is_opaque
from harness.kernels.indices import simplify_indices
from harness.kernels.summation import cut_sums
from harness.passes.legalise import LEGALISATIONS
from harness.passes.movement import absorb_movement, is_stray, reshapes
from harness.passes.padding import mask_padding, pad_maxima
from harness.passes.rewriter import MAIN
from harness.records.record import Fusion
from harness.specs.sweep import FusionLevel


def fuse(
    module: tvm.IRModule, level: FusionLevel, target: tvm.target.Target | None = None
) -> tvm.IRModule:
    """Legalise a canonical network and group its operators into kernels, for a processor unless a
    target says otherwise: the threads of a graphics processor each sum a part as it is.

    The result's `main` calls TIR kernels only, one call a kernel. Raises NoKernel, naming them,
    where TVM has no kernels for some operators.
    """
    transform = relax.transform
    module = transform.LegalizeOps(LEGALISATIONS)(module)
    _require_kernels(module)
    module = pad_maxima(module)
    module = transform.FoldConstant()(module)
    module = _without_fusing(transform.AnnotateTIROpPattern()(module), is_opaque)
    if level == "elementwise":
        module = _keep_anchors_alone(module)
    if level != "none":
        module = transform.FuseOps()(module)
        module = transform.FuseTIR()(module)
    if level == "full":
        module = simplify_indices(mask_padding(absorb_movement(module)))
    if target is None or code_kind(target).vectors:
        module = cut_sums(module)
    return transform.DeadCodeElimination()(module)


def _require_kernels(legalised: tvm.IRModule) -> None:
    names = {
        operator_name(binding.value)
        for block in legalised[MAIN].body.blocks
        for binding in block.bindings
    }
    lacking = sorted(names - {"", "relax.call_tir"})
    if lacking:
        raise NoKernel(
            f"TVM has no kernel for {', '.join(name.removeprefix('relax.') for name in lacking)}: "
            "the network is imported, but cannot be compiled; cut the model before it"
        )


def _keep_anchors_alone(module: tvm.IRModule) -> tvm.IRModule:
    return _without_fusing(module, lambda kernel: kernel.attrs.get("op_pattern") == OUT_FUSABLE)


def _without_fusing(module: tvm.IRModule, alone: Callable[[PrimFunc], bool]) -> tvm.IRModule:
    module = module.clone()
    for name, function in module.functions.items():
        if isinstance(function, PrimFunc) and alone(function):
            module.update_func(name, function.with_attr("op_pattern", OPAQUE))
    return module


@dataclass(frozen=True)
class KernelCall:
    """One kernel of a fused network and how often an inference calls it.

    `constants` are the positions of the arguments that are weights; the last `outputs` arguments
    are results. `layers` are those whose weights its calls read, in the order of the calls.
    """

    name: str
    function: PrimFunc
    calls: int
    constants: tuple[int, ...]
    outputs: int
    layers: tuple[str, ...] = ()


def kernels(module: tvm.IRModule) -> list[KernelCall]:
    """The kernels of a fused network in the order of their first call.

    Reshapes are not among them: they become views of the same memory.
    """
    views = reshapes(module)
    calls: Counter[str] = Counter()
    first: dict[str, relax.VarBinding] = {}
    layers: dict[str, list[str]] = defaultdict(list)
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value) == "relax.call_tir":
                name = binding.value.args[0].name_hint
                if name not in views:
                    calls[name] += 1
                    first.setdefault(name, binding)
                    found = map(name_of, binding.value.args[1].fields)
                    layers[name] += [layer for layer in found if layer is not None]
    return [
        KernelCall(
            name,
            module[name],
            calls[name],
            tuple(
                at
                for at, argument in enumerate(binding.value.args[1].fields)
                if isinstance(argument, Constant)
            ),
            len(binding.var.ty.fields) if isinstance(binding.var.ty, relax.TupleType) else 1,
            tuple(layers[name]),
        )
        for name, binding in first.items()
    ]


def kernels_by_layer(module: tvm.IRModule) -> dict[str, str]:
    """The kernel of a fused network that reads the weights of each layer, by the layer's name."""
    return {layer: kernel.name for kernel in kernels(module) for layer in kernel.layers}


def summarise(canonical: tvm.IRModule, fused: tvm.IRModule) -> Fusion:
    """How many kernels an inference calls unfused and fused, and the stray ones left when fused."""
    found = kernels(fused)
    return Fusion(
        kernels_before=sum(kernel.calls for kernel in kernels(fuse(canonical, "none"))),
        kernels_after=sum(kernel.calls for kernel in found),
        stray=tuple(kernel.name for kernel in found if is_stray(kernel.function)),
    )
