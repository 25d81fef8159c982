"""Removes branches of residual connections that add next to nothing.

In `x + f(x)` the layers of f can go if the network gives nearly the same without them. How nearly
is measured: each branch is multiplied by a gate, and with a gate shut the outputs on calibration
data move by some share of their norm. The branches that move them least are shut first, as long as
they all together stay within a tolerance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import operator_name, relax, shape_of, tvm
from harness.networks.calibration import no_samples
from harness.networks.layers import grouped_layers_of, layers_of
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN, Rewriter, variables_of

_LEAST = 1e-12

Branches = dict[relax.Var, int]
"""The sum of a residual connection, to which of its arguments is the branch."""


def bypass(
    module: tvm.IRModule,
    tolerance: float,
    samples: Sequence[Sequence[np.ndarray]],
    target: tvm.target.Target,
    threads: int,
    exclude: Collection[str] = (),
) -> tuple[tvm.IRModule, int]:
    """A canonical network without the branches that its outputs do not miss, and how many weights
    went with them. `samples` are inputs in the order of its parameters; `tolerance` is the most
    that outputs may move by, in the mean over the samples and of their norm. Branches with layers
    of the names `exclude` stay. Raises CellFailure where there are no samples."""
    if not samples:
        raise no_samples("'bypass'")
    branches = residual_branches(module, exclude)
    if not branches:
        return module, 0
    moved = _Moved(module, branches, samples, target, threads)
    alone = [moved([at]) for at in range(len(branches))]
    shut: list[int] = []
    for at in np.argsort(alone, kind="stable"):
        if alone[at] <= tolerance and moved([*shut, int(at)]) <= tolerance:
            shut.append(int(at))
    sums = list(branches)
    smaller = _Bypass.apply(module, {sums[at]: branches[sums[at]] for at in shut})
    return smaller, _weights(module) - _weights(smaller)


def residual_branches(module: tvm.IRModule, exclude: Collection[str] = ()) -> Branches:
    """The sums x + f(x) of a canonical network in which f has layers, none of them of the names
    `exclude`."""
    layers = {layer.variable for layer in layers_of(module)}
    kept = {
        layer.variable
        for layer in (*layers_of(module), *grouped_layers_of(module))
        if layer.name in exclude
    }
    # The operands of each variable: the variables themselves, and the number of layers.
    sources: dict[relax.Var, frozenset[relax.Var]] = {}
    found: Branches = {}
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value) == "relax.add":
                for branch, around in ((0, 1), (1, 0)):
                    one, other = (binding.value.args[at] for at in (branch, around))
                    if _is_around(other, one, sources, layers, kept):
                        found[binding.var] = branch
            sources[binding.var] = frozenset({binding.var}).union(
                *(sources.get(each, frozenset({each})) for each in variables_of(binding.value))
            )
    return found


def _is_around(
    around: relax.Expr,
    branch: relax.Expr,
    sources: dict[relax.Var, frozenset[relax.Var]],
    layers: set[relax.Var],
    kept: set[relax.Var],
) -> bool:
    """Whether a branch of layers, none of them to be kept, is computed from its shortcut, in the
    same shape."""
    if not isinstance(around, relax.Var) or branch not in sources:
        return False
    between = sources[branch] - sources.get(around, frozenset())
    return (
        around in sources[branch]
        and not between.isdisjoint(layers)
        and between.isdisjoint(kept)
        and shape_of(around) == shape_of(branch)
    )


def _weights(module: tvm.IRModule) -> int:
    return sum(layer.weights.size for layer in layers_of(module))


class _Gates(Rewriter):
    """A network that takes a number for each branch after its own parameters, and multiplies the
    branch by it."""

    def __init__(self, module: tvm.IRModule, branches: Branches) -> None:
        super().__init__(module)
        self._branches = branches
        self._gates = {
            variable: relax.Var(f"gate{at}", relax.TensorType((), "float32"))
            for at, variable in enumerate(branches)
        }

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), *self._gates.values()]

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        at = self._branches.get(original.var)
        if at is None:
            return None
        gate = relax.op.astype(self._gates[original.var], call.args[at].ty.dtype)
        gated = self.emit(relax.op.multiply(call.args[at], self.emit(gate)))
        return relax.op.add(gated, call.args[1 - at])


class _Bypass(Rewriter):
    """A network without some branches."""

    def __init__(self, module: tvm.IRModule, branches: Branches) -> None:
        super().__init__(module)
        self._branches = branches

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        at = self._branches.get(original.var)
        return None if at is None else call.args[1 - at]


class _Moved:
    """The distance of a network's outputs from the usual ones when some gates are shut: the mean
    over samples of the distance, of their norm."""

    def __init__(
        self,
        module: tvm.IRModule,
        branches: Branches,
        samples: Sequence[Sequence[np.ndarray]],
        target: tvm.target.Target,
        threads: int,
    ) -> None:
        self._count = len(branches)
        self._machine = machine_of(fuse(_Gates.apply(module, branches), "full"), target, threads)
        self._samples = samples
        self._whole = [self._outputs(sample, []) for sample in samples]

    def __call__(self, shut: Sequence[int]) -> float:
        distances = [
            np.linalg.norm(self._outputs(sample, shut) - whole)
            / max(float(np.linalg.norm(whole)), _LEAST)
            for sample, whole in zip(self._samples, self._whole, strict=True)
        ]
        return float(np.mean(distances))

    def _outputs(self, sample: Sequence[np.ndarray], shut: Sequence[int]) -> np.ndarray:
        """All outputs that are numbers of a sample, in a row."""
        gates = [np.array(at not in shut, np.float32) for at in range(self._count)]
        return outputs_of(self._machine, [*sample, *gates])
