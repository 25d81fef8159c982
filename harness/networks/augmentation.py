"""Makes more of few samples, without labels: mixtures of two, and images moved and mirrored.

Needs the extra `torch`: importers of this module have checked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

_MOVED = 14
"""An image is moved by up to one part in so many of its height and width."""
_COLOURS = (1, 3, 4)


def augmented(
    inputs: Sequence[Tensor],
    learnt: Tensor,
    chosen: Tensor,
    crops: float,
    generator: torch.Generator,
) -> list[Tensor]:
    """The chosen samples of `inputs`, `[samples, *shape for one]`; of numbers that can be mixed,
    about half as a mixture with any other that is `learnt` from. Images are moved, or where `crops`
    is below 1 become parts of themselves, of that share of their height and width at least."""
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
    move = _moved if crops == 1 else partial(_cropped, least=crops)
    return [move(each, generator) if _is_image(each) else each for each in found]


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


def _cropped(images: Tensor, generator: torch.Generator, least: float) -> Tensor:
    """A part of each image, as large as the image was, and half of them mirrored."""
    count, _, *shape = images.shape
    size, mirrored = torch.rand(2, count, generator=generator)
    side = 1 - (1 - least) * size
    corners = (2 * torch.rand(2, count, generator=generator) - 1) * (1 - side)
    across, none = torch.where(mirrored < 0.5, -side, side), torch.zeros(count)
    places = torch.stack([across, none, corners[0], none, side, corners[1]], dim=1)
    grid = functional.affine_grid(
        places.reshape(count, 2, 3).to(images.dtype), [count, *shape], align_corners=False
    )
    found = functional.grid_sample(images[:, 0], grid, padding_mode="border", align_corners=False)
    return found[:, None]
