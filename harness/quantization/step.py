"""The step `quantize`: layers in 8-bit integers, or with narrower weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.networks.context import Context
from harness.records.record import Quantization
from harness.specs.quantization import Quantize

if TYPE_CHECKING:
    from harness.compiler.api import tvm

REVISION = 2
"""In the fingerprint of cells: raised when the step comes to another network than before."""


def apply(
    canonical: tvm.IRModule, context: Context, options: Quantize
) -> tuple[tvm.IRModule, Quantization]:
    """The network with its layers' data and weights on the lattices of 8-bit integers, which the
    target's kernels compute with; or with narrower weights alone.

    Raises CellSkipped for a target without kernels for that, InputError for an excluded layer that
    is not there, and CellFailure where there are no inputs to calibrate on, where no layer fits,
    and for a network that keeps state.
    """
    from harness.errors import CellFailure
    from harness.quantization.quantize import quantized
    from harness.quantization.support import integer_products
    from harness.quantization.weights_alone import with_narrow_weights

    if options.activations == "float32":
        found, quantization = with_narrow_weights(canonical, options, context)
        context.keep_reference(found)
        return found, quantization
    if context.state:
        raise CellFailure(
            "the network keeps state, of which calibration inputs have the first values alone: the "
            "ranges of later ones are not known"
        )
    products = integer_products(context.spec, context.target)
    found, quantization = quantized(canonical, options, products, context)
    context.keep_reference(found)
    return found, quantization
