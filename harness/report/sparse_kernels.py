"""Sparse kernels beside the dense ones of the same layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.records.record import KernelTime, Record

_SPARSE = "sparse_"
"""The prefix that sparse lowering puts into the names of its kernels."""


def sparse_and_dense(sparse: Record, dense: Record) -> list[tuple[KernelTime, KernelTime]]:
    """The sparse kernels of a network, each with the dense one of the same layers.

    Records do not say which layers a kernel is of, but both list kernels in the order they are
    first called in. So two are of the same layers where both networks have the same operators, as
    often, from first to last; otherwise nothing is known and the list is empty.
    """
    if _shape(sparse.kernels) != _shape(dense.kernels):
        return []
    pairs = zip(sparse.kernels, dense.kernels, strict=True)
    return [(one, other) for one, other in pairs if _SPARSE in one.name]


def _shape(kernels: Sequence[KernelTime]) -> list[tuple[str, int]]:
    """Operators and calls of each kernel, without the numbers that make names unique."""
    names = [re.sub(r"\d+(?=_|$)", "", kernel.name.replace(_SPARSE, "")) for kernel in kernels]
    return [(name, kernel.calls) for name, kernel in zip(names, kernels, strict=True)]
