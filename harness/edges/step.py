"""The step `edges`: a network without the edges that matter least."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from harness.networks.context import Context
from harness.records.record import Compression
from harness.specs.edges import Edges
from harness.specs.patterns import Pattern, traits_of

if TYPE_CHECKING:
    from harness.compiler.api import tvm
    from harness.edges.budgets import Prices
    from harness.networks.layers import Layer

REVISION = 4
"""In the fingerprint of cells: raised when the step comes to another network than before."""


def apply(
    canonical: tvm.IRModule, context: Context, edges: Edges
) -> tuple[tvm.IRModule, Compression]:
    """The network without some of its edges, and its compression.

    In this order: branches are bypassed, outputs are ordered, edges are dropped and the others
    fitted, and edges are merged; the network before merging is the cell's reference. Raises
    CellFailure and InputError as `harness.edges.compress` does.
    """
    from harness.edges.bypass import bypass
    from harness.edges.compress import compress
    from harness.edges.merging import merge
    from harness.edges.ordering import reordered
    from harness.edges.patterns import block_of, require_pattern
    from harness.kernels.vectors import vector_lanes
    from harness.networks.calibration import Calibration
    from harness.networks.held_out import fitted_to
    from harness.networks.layers import named_layers

    here, threads = context.here, context.threads
    lanes = vector_lanes(context.target)
    edges = edges.model_copy(update={"exclude": named_layers(edges.exclude, canonical)})
    require_pattern(edges.pattern, context.spec, lanes)
    samples, bypassed = context.calibration(), 0
    if edges.bypass is not None:
        context.tell({"stage": "bypass"})
        canonical, bypassed = bypass(canonical, edges.bypass, samples, here, threads, edges.exclude)
    if traits_of(edges.pattern).in_blocks:
        context.tell({"stage": "order"})
        vector = block_of(edges.pattern, lanes).outputs
        canonical = reordered(canonical, vector, samples or context.inputs(), here, threads)
    training, seen = context.training() or samples, samples
    if edges.finetune:
        # Calibration inputs are the first training inputs, of which some are held out.
        seen = [samples[at] for at in fitted_to(len(samples), len(training))]
    canonical, compression = compress(
        canonical,
        edges,
        lanes,
        context.seed,
        (lambda module, layers: Calibration(module, layers, seen, here, threads)) if seen else None,
        training,
        context.tell,
        partial(_prices, context, canonical, edges.pattern, lanes),
    )
    compression = compression.model_copy(
        update={
            "parameters": compression.parameters + bypassed,
            "parameters_bypassed": bypassed,
        }
    )
    context.keep_reference(canonical)
    if edges.merge:
        context.tell({"stage": "merge"})
        canonical, compression = merge(canonical, compression, lanes)
    return canonical, compression


def _prices(
    context: Context,
    canonical: tvm.IRModule,
    pattern: Pattern,
    lanes: int,
    layers: Sequence[Layer],
    sparsities: Sequence[float],
) -> Prices:
    """The seconds of layers on the target at some sparsities, of which the first is 0."""
    from harness.edges.thinning import thinned
    from harness.tuning.layer_times import layer_seconds

    forms = [thinned(canonical, layers, each, pattern, lanes) for each in sparsities]
    return layer_seconds(context, forms, [layer.name for layer in layers])
