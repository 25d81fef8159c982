"""Functions of PyTorch, exported, imported and compiled, beside what PyTorch itself gives."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import PLAIN

from harness.building.network import machine_of
from harness.compiler.api import tvm
from harness.errors import InputError
from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

NAN, INFINITY = float("nan"), float("inf")
ODD = [NAN, 1.0, -2.0, INFINITY, -INFINITY, 0.5, -0.25, 0.0, -0.0, 3.0, -3.5, 2.5, 1e-6, -40.0]
VARIANTS = [
    (torch.float32, "full", 1),
    (torch.float32, "none", 8),
    (torch.float64, "full", 8),
]
"""Of a table of functions: a type of floats, how they are fused, and how many are left out."""
TOLERANCE = 1e-6
"""Of the largest finite number of an output."""


class Drawn:
    """Tensors drawn from a seed that a name gives."""

    def __init__(self, name: str) -> None:
        self._random = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def floats(self, *shape: int, dtype: Any = torch.float32) -> Any:
        return torch.randn(shape, generator=self._random, dtype=dtype)

    def between(self, low: float, high: float, *shape: int, dtype: Any = torch.float32) -> Any:
        return low + (high - low) * torch.rand(shape, generator=self._random, dtype=dtype)

    def whole(self, low: int, high: int, *shape: int, dtype: Any = torch.int64) -> Any:
        """Integers from `low` to one less than `high`."""
        return torch.randint(low, high, shape, generator=self._random).to(dtype)

    def truths(self, *shape: int) -> Any:
        return torch.rand(shape, generator=self._random) < 0.5

    def permutation(self, count: int) -> Any:
        return torch.randperm(count, generator=self._random)


def thinned(functions: Mapping[str, Callable[..., Any]], step: int) -> dict[str, Any]:
    """Every `step`-th function, counted from the last one."""
    return dict(list(functions.items())[::-step])


class _Applied(torch.nn.Module):
    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._functions = dict(functions)

    def forward(self, *given: Any) -> list[Any]:
        return [each for function in self._functions.values() for each in _flat(function(*given))]

    def names(self, given: Sequence[Any]) -> list[str]:
        """A name of each result."""
        return [name for name, function in self._functions.items() for _ in _flat(function(*given))]


def _flat(result: Any) -> list[Any]:
    """The tensors in a result; each one apart from the inputs, so that it is an output."""
    if isinstance(result, (list, tuple)):
        return [each for part in result for each in _flat(part)]
    return [result]


def export(network: Any, path: Path, given: Sequence[Any]) -> Path:
    """Write a network's exported program and give its path back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of parts that it uses itself
        program = torch.export.export(network.eval(), tuple(given))
        torch.export.save(program, path)
    return path


def assert_like_pytorch(
    network: Any,
    given: Sequence[Any],
    folder: Path,
    *,
    levels: Iterable[str] = ("full",),
    tolerance: float = TOLERANCE,
    relative: bool = False,
) -> None:
    """Fails unless a network, or functions by name, compiled at levels of fusion, gives what
    PyTorch does: integers and truth values exactly, floats within `tolerance` of each output's
    scale, or, `relative`, of each element."""
    if isinstance(network, Mapping):
        network = _Applied(network)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [each.numpy() for each in _flat(network.eval()(*_copies(given)))]
        names = network.names(given) if isinstance(network, _Applied) else None
    imported = import_model(export(network, folder / "network.pt2", given), {}, folder)
    module = canonicalise(imported.module)
    wrong = []
    for level in levels:
        found = _run(machine_of(fuse(module, level), PLAIN, 2), given)
        assert len(found) == len(expected)
        for at, (one, right) in enumerate(zip(found, expected, strict=True)):
            problem = _difference(one, right, tolerance, relative)
            if problem:
                wrong.append(f"{names[at] if names else at} ({level}): {problem}")
    assert not wrong, "\n".join(wrong)


def _copies(given: Sequence[Any]) -> list[Any]:
    return [each.clone() for each in given]


def _run(machine: Any, given: Sequence[Any]) -> list[np.ndarray]:
    arrays = [tvm.runtime.tensor(np.array(each.numpy(), order="C")) for each in given]
    found = machine["main"](*arrays)
    return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]


def _difference(found: np.ndarray, right: np.ndarray, tolerance: float, relative: bool) -> str:
    """How a result differs; nothing where it does not."""
    if (found.shape, found.dtype) != (right.shape, right.dtype):
        return f"{found.dtype}{list(found.shape)}, expected {right.dtype}{list(right.shape)}"
    if right.dtype.kind != "f":
        bad = found != right
    else:
        finite = np.isfinite(right)
        sizes = np.abs(right.astype(np.float64))
        scale = sizes if relative else sizes[finite].max(initial=0)
        with np.errstate(all="ignore"):
            far = ~(np.abs(found.astype(np.float64) - right) <= tolerance * scale)
            same = (found == right) | (np.isnan(found) & np.isnan(right))
        bad = np.where(finite, far, ~same)
    if not bad.any():
        return ""
    at = tuple(np.argwhere(bad)[0])
    return f"{bad.sum()} of {bad.size} differ, at {list(map(int, at))} {found[at]} not {right[at]}"


def refusal(network: Any, given: Sequence[Any], folder: Path) -> str:
    """What an import says of a network, or of functions by name, that it refuses."""
    if isinstance(network, Mapping):
        network = _Applied(network)
    path = export(network, folder / "network.pt2", given)
    with pytest.raises(InputError) as error:
        import_model(path, {}, folder)
    assert "\n" not in str(error.value)
    return str(error.value)
