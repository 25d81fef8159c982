"""The two networks that ship with this package (see `training/fashion.py`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.files.npz import read_npz
from harness.models.accuracy.metrics import metric
from harness.models.catalog.entries import CatalogEntry
from harness.models.data.batches import take
from harness.models.data.labelled_arrays import arranged
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, Task, TrainingInputs
from harness.models.fetch import sha256_of
from harness.models.tensors import TensorSpec

INPUT = TensorSpec("image", (1, 1, 28, 28), "float32")
SCORES = TensorSpec("scores", (10,), "float32")
"""Of one image."""
TEST_IMAGES = "fashion-test-2000.npz"
TRAINING_IMAGES = "fashion-train-4000.npz"


def embedded_file(name: str) -> Path:
    """The path of a file in the folder `embedded`; InputError if the installation lacks it."""
    path = Path(str(files("harness.models.catalog"))) / "embedded" / name
    if not path.is_file():
        raise InputError(f"{path}: not there; the installation is incomplete, install again")
    return path


def fashion_task(_cache: Path, data: Path | None) -> Task:
    """Fashion-MNIST test images that no training saw.

    `data` may name an `.npz` like the embedded one: `images` uint8 [n, 28, 28], `labels` [n].
    """
    path = data or embedded_file(TEST_IMAGES)
    found = read_npz(path)
    images, labels = _images(found, path), take(found, "labels", path)
    if len(labels) != len(images):
        raise InputError(
            f"{path}: labels {list(labels.shape)}; expected labels [{len(images)}], one an image"
        )
    top1 = metric("top1")
    return Samples(top1, arranged(top1.labels, labels, SCORES, path), _feeds(images))


def fashion_training(data: Path | None) -> TrainingInputs:
    """Images that the networks were fitted to, without their labels.

    `data` may name an `.npz` of others: `images` uint8 [n, 28, 28].
    """
    path = data or embedded_file(TRAINING_IMAGES)
    images = _images(read_npz(path), path)
    return TrainingInputs(len(images), _feeds(images), sha256_of(path))


def _images(found: dict[str, np.ndarray], path: Path) -> np.ndarray:
    images = take(found, "images", path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
        raise InputError(
            f"{path}: images {images.dtype} {list(images.shape)}; expected images uint8 [n, 28, 28]"
        )
    return images


def _feeds(images: np.ndarray) -> Callable[[int], Feeds]:
    def feeds(at: int) -> Feeds:
        return {INPUT.name: images[at].reshape(INPUT.shape).astype(np.float32) / np.float32(255)}

    return feeds


def _entry(name: str, summary: str) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        summary=summary,
        task_text="which of ten kinds of clothing a 28×28 grey image shows",
        licence="Apache-2.0 (weights); MIT, Copyright (c) 2017 Zalando SE (Fashion-MNIST images)",
        inputs=(INPUT,),
        preprocessing="pixel / 255",
        data=(
            "2,000 test images of Fashion-MNIST, embedded, and 4,000 others to compress edges by; "
            "'data' and 'training' may name an .npz of images uint8 [n, 28, 28], 'data' with labels"
        ),
        metric="top1",
        build=lambda _cache: embedded_file(f"{name}.onnx"),
        task=fashion_task,
        training=fashion_training,
    )


RESNET8 = _entry("fashion-resnet8", "ResNet-8, trained here on Fashion-MNIST")
DSCNN = _entry("fashion-dscnn", "depthwise-separable CNN, trained here on Fashion-MNIST")
