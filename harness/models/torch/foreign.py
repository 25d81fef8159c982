"""Operators of other packages, and ours in their place.

A program calls them by name only; the package that defines them is not imported.
"""

from __future__ import annotations

from typing import Any

import torch


def _grouped_mm(input: torch.Tensor, weight: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
    """The rows of `input` [S, K] by the matrix of their group: of `weight` [E, K, N] each is for
    the rows up to its number in `offs` [E]. Rows behind the last are 0."""
    result = input.new_zeros(input.shape[0], weight.shape[2])
    start = 0
    for matrix, end in zip(weight, offs.tolist(), strict=True):
        result[start:end] = input[start:end] @ matrix
        start = end
    return result


def _without_values(input: torch.Tensor, weight: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return input.new_empty(input.shape[0], weight.shape[2])


grouped_mm = torch.library.custom_op("layeredge::grouped_mm", _grouped_mm, mutates_args=())
grouped_mm.register_fake(_without_values)

_OWN = {
    # The experts of transformers' mixtures, in other types than bfloat16.
    "torch.ops.transformers.grouped_mm_fallback.default": "torch.ops.layeredge.grouped_mm.default",
}
"""An operator to ours, of the same arguments."""

OWN = frozenset(_OWN.values())


def with_own_operators(node: dict[str, Any]) -> None:
    """Let a node, as `torch.export.save` writes it, call ours instead of another package's."""
    node["target"] = _OWN.get(node["target"], node["target"])
