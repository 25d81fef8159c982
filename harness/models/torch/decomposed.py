"""Which operators PyTorch replaces by simpler ones before an import."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch._subclasses.fake_tensor import UnsupportedOperatorException

from harness.models.torch.operators.recurrent import RECURRENT, is_converted
from harness.models.torch.operators.resize import RESIZE

# Beyond those that PyTorch replaces in an export by default: TVM converts them to something else.
_REPLACED = (
    "addmv.default",
    "grid_sampler_2d.default",
    "tril_indices.default",
    "triu_indices.default",
    "native_dropout.default",
    "hardswish.default",
    "slice_scatter.default",
)


class NotReplaced(Exception):
    """PyTorch cannot tell the results of an operator, which is named, without values."""


def decomposed(
    program: torch.export.ExportedProgram, converted: Collection[str]
) -> torch.export.ExportedProgram:
    """A program of simple operators; those that this package has kernels for are kept. What has no
    converter is replaced where PyTorch knows how. Raises NotReplaced."""
    table: Any = torch.export.default_decompositions()
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    unrolled = {
        node.target.__name__
        for node in nodes
        if node.target.__name__ in RECURRENT and not is_converted(node)
    }
    for name in (RECURRENT.keys() - unrolled) | RESIZE.keys():
        table.pop(_operator(name), None)
    known = torch._decomp.decomposition_table
    table.update({_operator(name): known[_operator(name)] for name in _REPLACED})
    program = _replaced(program, table)
    tried: set[Any] = set()
    while True:
        rest = {
            node.target
            for node in program.graph.nodes
            if node.op == "call_function" and node.target.__name__ not in converted
        }
        missing = (rest & known.keys()) - tried
        if not missing:
            return program
        tried |= missing
        table.update({operator: known[operator] for operator in missing})
        program = _replaced(program, table)


def _replaced(program: torch.export.ExportedProgram, table: Any) -> torch.export.ExportedProgram:
    try:
        return program.run_decompositions(table)
    except UnsupportedOperatorException as error:
        raise NotReplaced(str(error.func)) from error
    except AssertionError as error:  # of functional graphs
        raise NotReplaced("an operator that writes into another value in place") from error


def _operator(name: str) -> Any:
    """`aten.add.Tensor`, of `add.Tensor`."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload)
