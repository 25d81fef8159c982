"""Evaluates a PyTorch exported program in 64-bit floats, operator by operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from harness.baselines.base import Feeds
from harness.errors import first_line
from harness.judges.base import CannotJudge
from harness.judges.rounding import Rounding
from harness.models.torch.archive import load_exported_program, user_inputs

_NARROW = frozenset({torch.float32, torch.float16, torch.bfloat16})


_SUMS = ("conv", "mm", "matmul", "linear", "einsum", "add", "sub", "sum", "mean", "norm")
"""Parts of the names of operators in whose sums terms may cancel."""


class TorchFloat64:
    """An exported program; its weights, and all dtypes in it, widened."""

    def __init__(self, path: Path) -> None:
        program = load_exported_program(path)
        self._names = [spec.name for spec in user_inputs(program)]
        self._module = program.module().double()
        for node in self._module.graph.nodes:
            node.args = torch.fx.node.map_aggregate(node.args, _wide)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, _wide)
        # The guards of the export look at dtypes.
        for node in [*self._module.graph.nodes]:
            if node.op == "call_module" and "guards" in str(node.target):
                self._module.graph.erase_node(node)
        self._module.recompile()

    def outcomes(self, feeds: Feeds) -> Iterator[list[np.ndarray]]:
        given = [_given(feeds[name]) for name in self._names]
        for rounding in chain([None], map(Rounding, count(1))):
            try:
                with torch.inference_mode():
                    found = _Interpreter(self._module, rounding).run(*given)
            except Exception as error:
                # PyTorch's operators raise whatever their parts happen to.
                raise CannotJudge(f"PyTorch fails in float64: {first_line(error)}") from error
            yield [tensor.numpy() for tensor in found]


class _Interpreter(torch.fx.Interpreter):  # type: ignore[misc]
    def __init__(self, module: torch.fx.GraphModule, rounding: Rounding | None) -> None:
        super().__init__(module)
        self._rounding = rounding

    def run_node(self, node: torch.fx.Node) -> Any:
        found, rounding = super().run_node(node), self._rounding
        if rounding is None or node.op != "call_function":
            return found
        given = [
            value
            for value in torch.utils._pytree.tree_leaves(self.fetch_args_kwargs_from_env(node))
            if isinstance(value, torch.Tensor)
        ]
        dtype = str(getattr(node.meta.get("val"), "dtype", torch.float32)).removeprefix("torch.")
        summed = any(part in str(node.target) for part in _SUMS)

        def rounded(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dtype != torch.float64:
                return tensor
            terms = _terms(given, tensor) if summed else 1
            moved = rounding(tensor.numpy(), dtype, terms=terms)
            return torch.from_numpy(np.ascontiguousarray(moved))

        return torch.utils._pytree.tree_map_only(torch.Tensor, rounded, found)


def _terms(given: Sequence[torch.Tensor], result: torch.Tensor) -> int:
    """How many terms each value of a sum has, about: those of the product of the two largest
    tensors that are given, or of the mean of the only one."""
    sizes = sorted((each.numel() for each in given), reverse=True)
    terms = math.prod(sizes[:2]) / max(1, result.numel())
    return max(2, round(math.sqrt(terms) if len(sizes) > 1 else terms))


def _given(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:  # PyTorch takes none from NumPy
        array = array.astype(np.float32)
    return torch.from_numpy(array).double() if array.dtype.kind == "f" else torch.from_numpy(array)


def _wide(value: Any) -> Any:
    """A tensor, or a dtype, of 64-bit floats for one of narrower floats."""
    if isinstance(value, torch.Tensor) and value.dtype in _NARROW:
        return value.double()
    return torch.float64 if isinstance(value, torch.dtype) and value in _NARROW else value
