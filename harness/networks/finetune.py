"""Fits a whole network, under masks, to the dense network's outputs: distillation without labels.

Trained are the weights of convolutions and dense layers, and the biases added right after them,
from the first layer on that has lost edges: the layers before it are unchanged. The masks stay: a
dropped edge is 0 in each step, so that it has no gradient, and 0 at the end. A step is relative to
the usual size of an output's weights, which folded normalisation makes very different.

The distance is the squared error of each output, relative to the output's own size. It fits
whatever an output means; for classes, the divergence of softened probabilities came to the same.
The layers' outputs can count too, as hints do to a thinner network [Romero]: a few hundred
samples say more so than by their outputs alone; thousands do not. All is taken on mixtures of
samples too, and on images moved, mirrored or in parts [Beyer], of which the dense network also says
its outputs. Some samples (`held_out.py`) are not learnt from, and tell which epoch was the best:
a network that has lost little is easily made worse.

Needs the extra `torch`: importers of this module have checked for it.

Sources
-------
[Beyer]   L. Beyer et al., Knowledge distillation: a good teacher is patient and consistent,
          CVPR 2022.
[Romero]  A. Romero et al., FitNets: hints for thin deep nets, ICLR 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.networks.augmentation import augmented
from harness.networks.held_out import fitted_to, held_out
from harness.networks.layers import Bias, Layer, biases_of, grouped_layers_of, layers_of
from harness.networks.torch_network import TorchNetwork
from harness.specs.edges import Finetune

Progress = Callable[[int, float], None]
"""Told the epochs done, and the distance on the held-out samples."""

_LEAST = 1e-12
_WARM_UP = 0.05
"""The share of all steps in which the learning rate grows."""


def finetuned(
    dense: tvm.IRModule,
    module: tvm.IRModule,
    layers: Sequence[Layer],
    masks: Mapping[str, np.ndarray],
    weights: Mapping[relax.Var, np.ndarray],
    samples: Sequence[Sequence[np.ndarray]],
    settings: Finetune,
    seed: int,
    progress: Progress,
) -> dict[relax.Var, np.ndarray]:
    """New constants for `layers` and their biases, by the variable of the call that has them.

    `module` is the network as it is by now, with the operators of the `dense` one; `layers` are
    those of it to train, in groups or not. `masks` are by a layer's name, `[taps * inputs,
    outputs]`; a layer without one keeps all edges. `weights` are the initial ones, where it is
    not the layer's own; `samples` are the network's inputs in the order of its parameters. The same
    seed, versions, kind of processor and number of threads give the same constants. Raises
    CellFailure for an operator that torch has no function for here, for a network without an output
    to fit, and where the distance or a weight is no longer finite.
    """
    inputs = [torch.from_numpy(np.stack(each)) for each in zip(*samples, strict=True)]
    pair = _Pair(dense, module, layers, masks, inputs, settings.batch)
    trained = _Trained(pair.layers, pair.biases, pair.sizes, masks, weights)
    generator = torch.Generator().manual_seed(seed)
    learnt = torch.tensor(fitted_to(len(samples)))
    apart = torch.tensor(held_out(len(samples)) or fitted_to(len(samples)))

    def distance_held_out() -> float:
        batches = [[each[chosen] for each in inputs] for chosen in apart.split(settings.batch)]
        with torch.no_grad():
            constants = trained.constants()
            return sum(
                float(pair.distance(batch, constants)) * len(batch[0]) / len(apart)
                for batch in batches
            )

    nearest, best = distance_held_out(), trained.arrays()
    optimizer = torch.optim.Adam(trained.parameters.values(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(learnt) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    for epoch in range(1, settings.epochs + 1):
        shuffled = learnt[torch.randperm(len(learnt), generator=generator)]
        for chosen in shuffled.split(settings.batch):
            batch = augmented(inputs, learnt, chosen, settings.crops, generator)
            loss = pair.distance(batch, trained.constants(), settings.layers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        found = distance_held_out()
        if not math.isfinite(found):
            raise CellFailure(
                f"fine-tuning: the distance to the dense network is {found} in epoch {epoch}; "
                "a smaller 'learning_rate' may help"
            )
        if found < nearest:
            nearest, best = found, trained.arrays()
        progress(epoch, found)
    trained.check(best)
    return best


def _rate(done: float) -> float:
    """The learning rate, of the highest, once so much is done: the first steps of Adam, whose
    averages are of a few gradients yet, are as long as it lets them be."""
    return min(1.0, (done + 1e-3) / _WARM_UP) * (1 + math.cos(math.pi * done)) / 2


class _Pair:
    """The dense network and the one that is fitted to it, and how far they are apart.

    `layers` are those of `layers` to train, and `biases` theirs, by their names; `sizes` are the
    root mean squares of their outputs in the dense network, and their biases.
    """

    def __init__(
        self,
        dense: tvm.IRModule,
        module: tvm.IRModule,
        layers: Sequence[Layer],
        masked: Collection[str],
        inputs: Sequence[Tensor],
        batch: int,
    ) -> None:
        self._dense, self._network = TorchNetwork(dense), TorchNetwork(module)
        first = self._network.first({each.variable for each in layers if each.name in masked})
        self.layers = [each for each in layers if self._network.first({each.variable}) >= first]
        before = {layer.name: layer for layer in (*layers_of(dense), *grouped_layers_of(dense))}
        twins = [before[layer.name] for layer in self.layers]
        self.biases = biases_of(module, self.layers)
        wanted = _given(twins, biases_of(dense, twins))
        self._inside = list(zip(wanted, _given(self.layers, self.biases), strict=True))
        self._powers, self._inner = _powers(self._dense, inputs, batch, wanted)
        if not self._powers:
            raise CellFailure(
                "fine-tuning: no output of the network is a number that has a gradient"
            )
        self.sizes = {
            layer.name: math.sqrt(power)
            for layer, power in zip(self.layers, self._inner, strict=True)
        }

    def distance(
        self, batch: Sequence[Tensor], constants: Mapping[relax.Var, Tensor], inner: float = 0
    ) -> Tensor:
        """How far the outputs are apart when the network computes with some constants; and, counted
        `inner` times the mean distance of the layers' outputs."""
        inside = self._inside if inner else ()
        outputs, within = self._dense.beside(self._network, constants, batch, inside)
        errors = [_error(*outputs[at], power) for at, power in self._powers.items()]
        total = torch.stack(errors).sum()
        if inner:
            errors = [_error(*pair, power) for pair, power in zip(within, self._inner, strict=True)]
            total = total + inner * torch.stack(errors).mean()
        return total


def _error(wanted: Tensor, found: Tensor, power: float) -> Tensor:
    return (found - wanted).square().mean() / power


def _given(layers: Sequence[Layer], biases: Mapping[str, Bias]) -> list[relax.Var]:
    """The variable of each layer's outputs, with its bias if it has one."""
    return [
        biases[layer.name].variable if layer.name in biases else layer.variable for layer in layers
    ]


class _Trained:
    """The constants that are trained: parameters, each relative to its usual size."""

    def __init__(
        self,
        layers: Sequence[Layer],
        biases: Mapping[str, Bias],
        sizes: Mapping[str, float],
        masks: Mapping[str, np.ndarray],
        weights: Mapping[relax.Var, np.ndarray],
    ) -> None:
        start = {layer.variable: layer.weights for layer in layers}
        start |= {bias.variable: bias.values for bias in biases.values()}
        self._sizes = {layer.variable: _usual_size(layer) for layer in layers}
        self._sizes |= {bias.variable: torch.tensor(sizes[name]) for name, bias in biases.items()}
        self._kept = {
            layer.variable: torch.from_numpy(layer.stored(masks[layer.name].astype(np.float32)))
            for layer in layers
            if layer.name in masks
        }
        self.parameters = {
            variable: (
                torch.from_numpy(np.array(weights.get(variable, array))) / self._sizes[variable]
            ).requires_grad_()
            for variable, array in start.items()
        }

    def constants(self) -> dict[relax.Var, Tensor]:
        """The effective weights. A dropped edge is 0 here, so that it has no gradient and
        Adam leaves it where it is."""
        return {
            variable: parameter * self._sizes[variable] * self._kept.get(variable, 1)
            for variable, parameter in self.parameters.items()
        }

    def arrays(self) -> dict[relax.Var, np.ndarray]:
        return {
            variable: value.detach().numpy().copy() for variable, value in self.constants().items()
        }

    def check(self, result: Mapping[relax.Var, np.ndarray]) -> None:
        """Raises CellFailure where an edge came back or a constant is not finite."""
        for variable, array in result.items():
            name = variable.name
            if not np.isfinite(array).all():
                raise CellFailure(f"fine-tuning gave constants of {name} not finite")
            if variable in self._kept and array[self._kept[variable].numpy() == 0].any():
                raise CellFailure(f"fine-tuning revived a dropped edge of {name}")


def _powers(
    network: TorchNetwork, inputs: Sequence[Tensor], batch: int, inside: Sequence[relax.Var]
) -> tuple[dict[int, float], list[float]]:
    """The mean square of each output of the dense network, by its place, and of the outputs
    `inside`. An output that has no gradient, such as the index of the largest, is left out."""
    outputs: dict[int, float] = {}
    within = [_LEAST] * len(inside)
    with torch.no_grad():
        for part in zip(*(each.split(batch) for each in inputs), strict=True):
            share = len(part[0]) / len(inputs[0])
            found, seen = network.watched(part, None, inside)
            for at, output in enumerate(found):
                if output.is_floating_point():
                    outputs[at] = outputs.get(at, _LEAST) + share * float(output.square().mean())
            for at, value in enumerate(seen):
                within[at] += share * float(value.square().mean())
    return outputs, within


def _usual_size(layer: Layer) -> Tensor:
    """The root mean square of the weights that lead to the same output, in the weights' shape."""
    each = np.sqrt(np.mean(np.square(layer.matrix), axis=0) + _LEAST)
    return torch.from_numpy(layer.stored(np.broadcast_to(each, layer.matrix.shape)))
