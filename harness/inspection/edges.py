"""Shows the layers of a network whose edges can be dropped, and the share of the least of
them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, target_of, tvm
from harness.compiler.names import name_of
from harness.edges.blocks import EDGE, Block
from harness.edges.patterns import mask_of
from harness.edges.scores.table import scores_of
from harness.inspection.kernels import import_named, reported_as
from harness.inspection.layer_times import LayerTimes, Source, layer_times
from harness.kernels.vectors import vector_lanes
from harness.networks.layers import Layer, layers_of, weight_axes
from harness.passes.canonicalise import canonicalise
from harness.passes.rewriter import MAIN, variables_of
from harness.passes.sparse_lowering import HAS_SPARSE_KERNELS
from harness.passes.weighted import PRODUCT, TRANSPOSED, WEIGHTED
from harness.specs.documents import Frozen
from harness.specs.target import TargetSpec

SCORE_BINS = tuple(2.0**power for power in range(-5, 4))
"""Bounds of the bins of scores, as multiples of a layer's mean; the outer bins are open."""


class BlockScores(Frozen):
    """How the magnitude of a layer is spread over its blocks. `histogram` counts them by score
    (see `SCORE_BINS`); `lowest_half` and `lowest_80` are the shares of the layer's magnitude that
    pruning half and four fifths of each column of blocks drops."""

    blocks: int
    histogram: tuple[int, ...]
    lowest_half: float
    lowest_80: float


class InspectedLayer(Frozen):
    """One layer. `name` is its name in a sweep, None where both sides are computed; `kept` is why
    its edges cannot be dropped, or why no block fits. `reads` and `read_by` are the numbers of the
    layers before and after it, whatever is between; `flops` and `time_us` are of one inference."""

    number: int
    name: str | None
    operator: str
    shape: tuple[int, ...]
    parameters: int
    flops: float
    flops_share: float
    time_us: float | None
    time_share: float | None
    scores: BlockScores | None
    kept: str | None
    reads: tuple[int, ...]
    reads_input: bool
    read_by: tuple[int, ...]


class EdgeInspection(Frozen):
    """The layers of a canonical network in its order; blocks have `lanes` outputs. `time_source` is
    where the times come from: measured while tuning, or the least that the roofline allows;
    `layers_tuned` are in kernels that the tuning database knows."""

    model: str
    target: str
    lanes: int
    time_source: Source | None
    layers_tuned: int
    layers: tuple[InspectedLayer, ...]


def inspect_edges(
    model: str, target: TargetSpec, shapes: Mapping[str, tuple[int, ...]], tuned: Path
) -> EdgeInspection:
    """Import a model, a catalog name or a path, as a sweep would, and look at its layers.

    `tuned` is the tuning database of the target, which may be missing. Nothing is compiled. Raises
    InputError and CellFailure as `harness.inspection.kernels.inspect` does.
    """
    imported = import_named(model, shapes)
    with reported_as(f"{model}: its layers cannot be inspected"):
        canonical = canonicalise(imported.module, imported.layer_names)
        lanes = vector_lanes(target_of(target.tvm.as_tvm()))
        bindings = _layer_bindings(canonical)
        names = [name_of(binding.value.args[1]) for binding in bindings]
        times = layer_times(canonical, names, target, tuned)
        layers = _layers(canonical, bindings, lanes, times)
    return EdgeInspection(
        model=model,
        target=target.name,
        lanes=lanes,
        time_source=times.source if times else None,
        layers_tuned=times.tuned if times else 0,
        layers=layers,
    )


def _layer_bindings(module: tvm.IRModule) -> list[relax.VarBinding]:
    return [
        binding
        for block in module[MAIN].body.blocks
        for binding in block.bindings
        if operator_name(binding.value) in WEIGHTED
    ]


def _layers(
    module: tvm.IRModule,
    bindings: list[relax.VarBinding],
    lanes: int,
    times: LayerTimes | None,
) -> tuple[InspectedLayer, ...]:
    prunable = {layer.variable: layer for layer in layers_of(module)}
    numbers = {binding.var: at for at, binding in enumerate(bindings, start=1)}
    read = _read(module, numbers)
    flops = [_flops(binding) for binding in bindings]
    whole = math.fsum(flops)
    found = []
    for at, binding in enumerate(bindings):
        call, layer = binding.value, prunable.get(binding.var)
        time = times.each_us[at] if times else None
        before = read[binding.var]
        weights = constant_array(call.args[1])
        why = _why_no_block(layer, lanes) if layer else _why_kept(call)
        found.append(
            InspectedLayer(
                number=at + 1,
                name=name_of(call.args[1]),
                operator=operator_name(call).rsplit(".", 1)[-1],
                shape=shape_of(call.args[1]),
                parameters=0 if weights is None else weights.size,
                flops=flops[at],
                flops_share=flops[at] / whole if whole else 0.0,
                time_us=time,
                time_share=time / times.whole_us if times and time is not None else None,
                scores=_scores(layer, lanes) if layer and why is None else None,
                kept=why,
                reads=tuple(sorted(before - {0})),
                reads_input=0 in before,
                read_by=tuple(number for other, number in numbers.items() if at + 1 in read[other]),
            )
        )
    return tuple(found)


def _read(
    module: tvm.IRModule, numbers: Mapping[relax.Var, int]
) -> dict[relax.Var, frozenset[int]]:
    """The layers, by number, that each layer's inputs come from; 0 is the input."""
    origins: dict[relax.Var, frozenset[int]] = dict.fromkeys(module[MAIN].params, frozenset({0}))
    found = {}
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            used = frozenset[int]().union(
                *(origins.get(variable, frozenset()) for variable in variables_of(binding.value))
            )
            if binding.var in numbers:
                found[binding.var], used = used, frozenset({numbers[binding.var]})
            origins[binding.var] = used
    return found


def _flops(binding: relax.VarBinding) -> float:
    """Multiplications and additions of one inference."""
    call, written = binding.value, math.prod(shape_of(binding.var))
    name, weights = operator_name(call), shape_of(call.args[1])
    if name == PRODUCT:
        return 2.0 * written * shape_of(call.args[0])[-1]
    layout = str(call.attrs.kernel_layout)
    if name in TRANSPOSED:  # each input is used for all taps of its outputs
        read = math.prod(shape_of(call.args[0]))
        return 2.0 * read * math.prod(weights) / weights[layout.index("I")]
    return 2.0 * written * math.prod(weights) / weights[layout.index("O")]


def _why_kept(call: relax.Call) -> str:
    """Why the edges of a layer cannot be dropped."""
    assert weight_axes(call) is None
    name, weights = operator_name(call), constant_array(call.args[1])
    if weights is None:
        return "both sides are computed" if name == PRODUCT else "weights are computed"
    if weights.dtype != np.float32:
        return f"weights are {weights.dtype}"
    if name in TRANSPOSED:
        return "transposed convolution"
    if name == PRODUCT:
        return f"weights have {weights.ndim} dimensions"
    groups = int(call.attrs.groups)
    if groups == 1:
        return "no pattern for this operator"
    one = weights.shape[str(call.attrs.kernel_layout).index("I")] == 1
    return "depthwise" if one else f"{groups} groups"


def _why_no_block(layer: Layer, lanes: int) -> str | None:
    if operator_name(layer.call) not in HAS_SPARSE_KERNELS:
        return "no sparse kernel for this operator"
    outputs = layer.matrix.shape[1]
    return f"outputs: {outputs}, no multiple of {lanes}" if outputs % lanes else None


def _scores(layer: Layer, lanes: int) -> BlockScores:
    """By magnitude, the only score that takes no data, of a layer that has whole blocks."""
    blocks = scores_of([layer], "magnitude", Block(1, lanes), 0)[layer.name]
    bins = np.digitize(blocks.ravel(), np.array(SCORE_BINS) * blocks.mean())
    return BlockScores(
        blocks=blocks.size,
        histogram=tuple(np.bincount(bins, minlength=len(SCORE_BINS) + 1).tolist()),
        lowest_half=_dropped_share(blocks, 0.5),
        lowest_80=_dropped_share(blocks, 0.8),
    )


def _dropped_share(blocks: np.ndarray, sparsity: float) -> float:
    whole = float(blocks.sum())
    dropped = blocks[~mask_of(blocks, "block", sparsity, EDGE)]
    return float(dropped.sum()) / whole if whole else 0.0
