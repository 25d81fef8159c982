"""Fits a whole network, under masks, to what the dense one gives: distillation without labels.

All that is trained are the weights of layers with edges, and the biases added right after them. The
masks stay: a dropped edge is 0 in each step, so that it has no gradient, and 0 at the end.

The distance is the squared error of each output, relative to the output's own size. It fits
whatever an output means; for classes, the divergence of softened probabilities came to the same.

Needs the extra `torch`: whoever imports this module has made sure that it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.edges.layers import Layer, biases_of
from harness.edges.torch_network import TorchNetwork
from harness.errors import CellFailure
from harness.spec import Finetune
from harness.tvm_api import relax, tvm

Progress = Callable[[int, int, float], None]
"""Told the epochs done, how many there are, and the mean distance in the last one."""

_LEAST = 1e-12


def finetuned(
    dense: tvm.IRModule,
    layers: Sequence[Layer],
    masks: Mapping[str, np.ndarray],
    weights: Mapping[relax.Var, np.ndarray],
    samples: Sequence[Sequence[np.ndarray]],
    settings: Finetune,
    seed: int,
    progress: Progress,
) -> dict[relax.Var, np.ndarray]:
    """New constants for `layers` and their biases, by the variable of the call that has them.

    `masks` are by a layer's name, `[taps * inputs, outputs]`; a layer without one keeps all edges.
    `weights` are what to start from, where it is not the dense layer's own; `samples` are the
    network's inputs in the order of its parameters. The same seed, versions, kind of processor and
    number of threads give the same constants. Raises CellFailure for an operator that torch
    has no function for here, and where the distance or a weight is no longer finite.
    """
    network = TorchNetwork(dense)
    start = {layer.variable: weights.get(layer.variable, layer.weights) for layer in layers}
    start |= biases_of(dense, layers)
    trained = {variable: _parameter(array) for variable, array in start.items()}
    kept = {
        layer.variable: torch.from_numpy(layer.stored(masks[layer.name].astype(np.float32)))
        for layer in layers
        if layer.name in masks
    }

    def masked() -> dict[relax.Var, Tensor]:
        # A dropped edge is 0 here, so that it has no gradient and Adam leaves it where it is.
        return {
            variable: parameter * kept[variable] if variable in kept else parameter
            for variable, parameter in trained.items()
        }

    inputs = [torch.from_numpy(np.stack(each)) for each in zip(*samples, strict=True)]
    goals = _dense_outputs(network, inputs, settings.batch)
    optimizer = torch.optim.Adam(trained.values(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(samples) / settings.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        for chosen in torch.randperm(len(samples), generator=generator).split(settings.batch):
            found = network([each[chosen] for each in inputs], masked())
            distance = sum(goal.distance(found, chosen) for goal in goals)
            optimizer.zero_grad()
            distance.backward()
            optimizer.step()
            schedule.step()
            total += distance.item() * len(chosen) / len(samples)
        if not math.isfinite(total):
            raise CellFailure(
                f"fine-tuning: the distance to the dense network is {total} in epoch {epoch}; "
                "a smaller 'learning_rate' may help"
            )
        progress(epoch, settings.epochs, total)
    result = {variable: value.detach().numpy() for variable, value in masked().items()}
    _check(result, kept)
    return result


class _Goal:
    """What the dense network gives in one output, the one `at`: `[samples, *shape for one]`."""

    def __init__(self, at: int, wanted: Tensor) -> None:
        self._at, self._wanted = at, wanted
        self._scale = max(float(wanted.double().square().mean()), _LEAST)

    def distance(self, outputs: Sequence[Tensor], chosen: Tensor) -> Tensor:
        """The squared error in some samples, of the mean square of all that is wanted."""
        return (outputs[self._at] - self._wanted[chosen]).square().mean() / self._scale


def _dense_outputs(network: TorchNetwork, inputs: Sequence[Tensor], batch: int) -> list[_Goal]:
    with torch.no_grad():
        parts = [
            network(part) for part in zip(*(each.split(batch) for each in inputs), strict=True)
        ]
    outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    # What has no gradient, such as the index of the largest, is no goal.
    return [_Goal(at, each) for at, each in enumerate(outputs) if each.is_floating_point()]


def _parameter(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array)).requires_grad_()


def _check(result: Mapping[relax.Var, np.ndarray], kept: Mapping[relax.Var, Tensor]) -> None:
    """Raises CellFailure where an edge came back or a constant is not finite."""
    for variable, array in result.items():
        if not np.isfinite(array).all():
            raise CellFailure(f"fine-tuning gave constants of {variable.name_hint} not finite")
        if variable in kept and array[kept[variable].numpy() == 0].any():
            raise CellFailure(f"fine-tuning revived a dropped edge of {variable.name_hint}")
