"""More is made of few images, which stay images of the same kind."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")


def seen(torch: Any, images: Any, crops: float) -> Any:
    from harness.networks.augmentation import augmented

    generator = torch.Generator().manual_seed(0)
    every = torch.arange(len(images))
    (found,) = augmented([images], every, every, crops, generator)
    return found


@pytest.mark.parametrize("crops", [1, 0.5])
def test_images_change_but_not_their_size(torch: Any, crops: float) -> None:
    images = torch.rand(16, 1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    found = seen(torch, images, crops)
    assert found.shape == images.shape and found.dtype == images.dtype
    assert found.min() >= 0 and found.max() <= 1
    assert all((one != other).any() for one, other in zip(found, images, strict=True))


def test_crops_are_parts_as_large_as_asked(torch: Any) -> None:
    """Of images that say where each of their points is."""
    row, column = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    images = torch.stack([row, column, row])[None, None].repeat(64, 1, 1, 1, 1)
    found = seen(torch, images, 0.5)[:, 0]
    down = found[:, 0, -1].mean(1) - found[:, 0, 0].mean(1)
    across = found[:, 1, :, -1].mean(1) - found[:, 1, :, 0].mean(1)
    assert (across < 0).any() and (across > 0).any()
    for extent in (down, across.abs()):
        assert extent.min() > 0.45 and extent.max() <= 1.001
        assert extent.max() - extent.min() > 0.3
    assert found.min() >= 0 and found.max() <= 1.001


def test_inputs_that_are_no_images_are_only_mixed(torch: Any) -> None:
    rows = torch.rand(16, 1, 40, generator=torch.Generator().manual_seed(1))
    found = seen(torch, rows, 0.5)
    kept = (found == rows).all(dim=2).sum()
    assert 0 < kept < 16
