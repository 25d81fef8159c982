"""Fits a whole network, under masks, to what the dense one gives: distillation without labels.

Trained are the weights of convolutions and dense layers, and the biases added right after them. The
masks stay: a dropped edge is 0 in each step, so that it has no gradient, and 0 at the end. A step
is relative to the usual size of an output's weights, which folded normalisation makes very
different.

The distance is the squared error of each output, relative to the output's own size. It fits
whatever an output means; for classes, the divergence of softened probabilities came to the same.
What each layer is given counts as well, all of it together as much as the outputs at first and less
and less [Romero]: few samples say more about a network that way. The distance is taken on mixtures
of samples too, and on images moved and mirrored [Beyer], of which the dense network also says what
it makes. One sample in twenty is not learnt from, and tells by its outputs which epoch was the
best: a network that has lost little is easily made worse.

Needs the extra `torch`: whoever imports this module has made sure that it is there.

Sources
-------
[Beyer]  L. Beyer et al., Knowledge distillation: a good teacher is patient and consistent,
         CVPR 2022.
[Romero] A. Romero et al., FitNets: hints for thin deep nets, ICLR 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.edges.layers import Layer, biases_of, grouped_layers_of, layers_of
from harness.edges.torch_network import TorchNetwork
from harness.errors import CellFailure
from harness.passes.rewriter import MAIN
from harness.spec import Finetune
from harness.tvm_api import relax, tvm

Progress = Callable[[int, float], None]
"""Told the epochs done, and the distance on what is not learnt from."""

_LEAST = 1e-12
_HELD_OUT = 20
"""One sample in so many is not learnt from."""
_INSIDE = 1.0
_WARM_UP = 0.05
"""The share of all steps in which the learning rate grows."""
_MOVED = 14
"""An image is moved by up to one part in so many of its height and width."""
_COLOURS = (1, 3, 4)


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
    outputs]`; a layer without one keeps all edges.
    `weights` are what to start from, where it is not the dense layer's own; `samples` are the
    network's inputs in the order of its parameters. The same seed, versions, kind of processor and
    number of threads give the same constants. Raises CellFailure for an operator that torch
    has no function for here, for a network without an output to fit, and where the distance or a
    weight is no longer finite.
    """
    teacher, network = TorchNetwork(dense), TorchNetwork(module)
    inputs = [torch.from_numpy(np.stack(each)) for each in zip(*samples, strict=True)]
    inside, biases = _given(module, layers), biases_of(module, layers)
    biased = [layer for layer in layers if layer.name in biases]
    names = {layer.name for layer in layers}
    before = [
        layer for layer in (*layers_of(dense), *grouped_layers_of(dense)) if layer.name in names
    ]
    inside_before = _given(dense, before)
    gives = [layer.variable for layer in before if layer.name in biases]
    power, powers = _powers(teacher, inputs, settings.batch, [*inside_before, *gives])
    if not power:
        raise CellFailure("fine-tuning: no output of the network is a number that has a gradient")

    start = {layer.variable: weights.get(layer.variable, layer.weights) for layer in layers}
    size = {layer.variable: _usual_size(layer) for layer in layers}
    for layer, each in zip(biased, powers[len(inside) :], strict=True):
        bias = biases[layer.name]
        start[bias.variable] = weights.get(bias.variable, bias.values)
        size[bias.variable] = torch.tensor(math.sqrt(each))
    trained = {
        variable: (torch.from_numpy(np.array(array)) / size[variable]).requires_grad_()
        for variable, array in start.items()
    }
    kept = {
        layer.variable: torch.from_numpy(layer.stored(masks[layer.name].astype(np.float32)))
        for layer in layers
        if layer.name in masks
    }

    def masked() -> dict[relax.Var, Tensor]:
        # A dropped edge is 0 here, so that it has no gradient and Adam leaves it where it is.
        return {
            variable: parameter * size[variable] * kept.get(variable, 1)
            for variable, parameter in trained.items()
        }

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(samples), generator=generator)
    held_out = order[: len(order) // _HELD_OUT] if len(order) >= _HELD_OUT else order
    learnt = order[len(order) // _HELD_OUT :]

    def of_outputs(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        return torch.stack(
            [(found[at] - wanted[at]).square().mean() / each for at, each in power.items()]
        ).sum()

    def distance(batch: Sequence[Tensor], share: float) -> Tensor:
        with torch.no_grad():
            wanted, wanted_inside = teacher.watched(batch, None, inside_before)
        found, found_inside = network.watched(batch, masked(), inside)
        parts = [
            (one - other).square().mean() / each
            for one, other, each in zip(
                found_inside, wanted_inside, powers[: len(inside)], strict=True
            )
        ]
        return of_outputs(found, wanted) + share * sum(parts) / max(1, len(parts))

    def distance_held_out() -> float:
        with torch.no_grad():
            constants = masked()
            return sum(
                float(of_outputs(network(batch, constants), teacher(batch)))
                * len(chosen)
                / len(held_out)
                for chosen in held_out.split(settings.batch)
                for batch in [[each[chosen] for each in inputs]]
            )

    def constants() -> dict[relax.Var, np.ndarray]:
        return {variable: value.detach().numpy().copy() for variable, value in masked().items()}

    nearest, best = distance_held_out(), constants()
    optimizer = torch.optim.Adam(trained.values(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(learnt) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    for epoch in range(1, settings.epochs + 1):
        shuffled = learnt[torch.randperm(len(learnt), generator=generator)]
        inside_share = _falling((epoch - 1) / settings.epochs)
        for chosen in shuffled.split(settings.batch):
            loss = distance(_batch(inputs, learnt, chosen, generator), _INSIDE * inside_share)
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
            nearest, best = found, constants()
        progress(epoch, found)
    _check(best, kept)
    return best


def _given(dense: tvm.IRModule, layers: Sequence[Layer]) -> list[relax.Var]:
    """What layers are given that the network computes: what is left of what others gave, once
    activations have cut it off."""
    given = {layer.call.args[0]: None for layer in layers}
    return [each for each in given if each not in set(dense[MAIN].params)]


def _rate(done: float) -> float:
    """The learning rate, of the highest, once so much is done: the first steps of Adam, whose
    averages are of a few gradients yet, are as long as it lets them be."""
    return min(1.0, (done + 1e-3) / _WARM_UP) * _falling(done)


def _falling(done: float) -> float:
    """From 1 to 0 along a cosine."""
    return (1 + math.cos(math.pi * done)) / 2


def _batch(
    inputs: Sequence[Tensor], learnt: Tensor, chosen: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """The chosen samples; of numbers that can be mixed, about half as a mixture with any other
    that is learnt from."""
    if not all(each.is_floating_point() for each in inputs):
        return [each[chosen] for each in inputs]
    count = len(chosen)
    others = learnt[torch.randint(len(learnt), (count,), generator=generator)]
    drawn, whole = torch.rand(2, count, generator=generator)
    share = torch.where(whole < 0.5, 1.0, drawn)

    def mixed(each: Tensor) -> Tensor:
        weight = share.reshape(-1, *[1] * (each.ndim - 1)).to(each.dtype)
        return weight * each[chosen] + (1 - weight) * each[others]

    found = [mixed(each) for each in inputs]
    return [_moved(each, generator) if _is_image(each) else each for each in found]


def _is_image(batch: Tensor) -> bool:
    """Whether an input is of images, `[samples, 1, colours, height, width]`."""
    return batch.ndim == 5 and batch.shape[2] in _COLOURS and min(batch.shape[3:]) > max(_COLOURS)


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by a few points, with zeros where there was nothing, and half of them
    mirrored."""
    height, width = images.shape[3:]
    most = torch.tensor([height // _MOVED, width // _MOVED])
    shifts = (torch.rand(len(images), 2, generator=generator) * (2 * most + 1)).int() - most
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    found = torch.zeros_like(images)
    for at, (down, right) in enumerate(shifts.tolist()):
        image = images[at].flip(-1) if mirrored[at] else images[at]
        into = found[at, ..., max(0, down) : height + down, max(0, right) : width + right]
        into.copy_(image[..., max(0, -down) : height - down, max(0, -right) : width - right])
    return found


def _powers(
    network: TorchNetwork, inputs: Sequence[Tensor], batch: int, inside: Sequence[relax.Var]
) -> tuple[dict[int, float], list[float]]:
    """The mean square of each output of the dense network, by its place, and of what is `inside`.
    An output that has no gradient, such as the index of the largest, is left out."""
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


def _check(result: Mapping[relax.Var, np.ndarray], kept: Mapping[relax.Var, Tensor]) -> None:
    """Raises CellFailure where an edge came back or a constant is not finite."""
    for variable, array in result.items():
        if not np.isfinite(array).all():
            raise CellFailure(f"fine-tuning gave constants of {variable.name_hint} not finite")
        if variable in kept and array[kept[variable].numpy() == 0].any():
            raise CellFailure(f"fine-tuning revived a dropped edge of {variable.name_hint}")
