"""Whether a target computes in 8-bit integers."""

from __future__ import annotations

from harness.compiler.api import tvm
from harness.errors import CellSkipped
from harness.kernels.dot_products import Products, products_of
from harness.kernels.vectors import vector_lanes
from harness.specs.target import TargetSpec


def integer_products(spec: TargetSpec, target: tvm.target.Target) -> Products:
    """How a target multiplies 8-bit integers. Raises CellSkipped where it has
    no kernels for that, or its description does not use them."""
    found = products_of(target) if vector_lanes(target) > 1 else None
    if found is None:
        raise CellSkipped(
            f"target {spec.name} has no kernels of 8-bit integers: expected an x86 processor with "
            "AVX2 or an Arm one with the feature 'dotprod'"
        )
    passes = spec.passes
    if not passes.integer_kernels or passes.layout != "NHWC":
        raise CellSkipped(
            f"target {spec.name} uses no kernels of 8-bit integers: expected 'integer_kernels: "
            f"true' and 'layout: NHWC' under 'passes', found {str(passes.integer_kernels).lower()} "
            f"and {passes.layout}"
        )
    return found
