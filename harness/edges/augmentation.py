"""Makes more of few samples, without labels: mixtures of two, and images moved and mirrored.

Needs the extra `torch`: whoever imports this module has made sure that it is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_MOVED = 14
"""An image is moved by up to one part in so many of its height and width."""
_COLOURS = (1, 3, 4)


def augmented(
    inputs: Sequence[Tensor], learnt: Tensor, chosen: Tensor, generator: torch.Generator
) -> list[Tensor]:
    """The chosen samples of `inputs`, `[samples, *shape for one]`; of numbers that can be mixed,
    about half as a mixture with any other that is `learnt` from."""
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
