"""ImageNet images with the class index in the file name, from a folder or a zip archive.

They come in an order of which every beginning is spread over all names. Files are named by their
classes, which ImageNet has sorted by kind: of 500 images, networks were fitted to the first half by
name, animals, and scored on the second, artefacts.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from harness.errors import InputError
from harness.models.accuracy.metrics import metric
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, TrainingInputs
from harness.models.resolved import fingerprint

CLASSES = 1000
SIDE = 224  # pixels
CROP = 0.875
"""The share of the shorter side that the centre crop keeps."""

SUFFIXES = {".jpg", ".jpeg", ".png"}
_LAST_NUMBER = re.compile(r"(\d+)$")


def imagenet_task(data: Path, input_name: str) -> Samples:
    """Images in `data`, a folder or a zip archive; the last number of a file's name is its class.

    Raises InputError when there is no image, or a name has no class from 0 to 999.
    """
    files = _list(data)
    labels = [np.asarray(_label(data, file)) for file in files]
    return Samples(metric("top1"), labels, _feeds(data, files, input_name))


def imagenet_training(data: Path, input_name: str) -> TrainingInputs:
    """The same without labels: whatever the names are. Raises InputError when there is no image."""
    files = _list(data)
    return TrainingInputs(
        len(files), _feeds(data, files, input_name), fingerprint({}, data, "training, spread")
    )


def _feeds(data: Path, files: list[str], input_name: str) -> Callable[[int], Feeds]:
    return lambda at: {input_name: _pixels(data, files[at])}


def _list(data: Path) -> list[str]:
    """Paths of the images within `data`, spread. Raises InputError when there is none."""
    try:
        if data.is_dir():
            found = [str(file.relative_to(data)) for file in data.rglob("*") if file.is_file()]
        else:
            with zipfile.ZipFile(data) as archive:
                found = archive.namelist()
    except FileNotFoundError:
        raise InputError(f"{data}: no such folder or zip archive of images") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{data}: expected a folder or zip archive of images: {error}") from None
    images = sorted(name for name in found if PurePosixPath(name).suffix.lower() in SUFFIXES)
    if not images:
        raise InputError(f"{data}: no images in it; expected files like 0123.jpg (class 123)")
    return _spread(images)


def _spread(names: list[str]) -> list[str]:
    """Names in the order of their places' bits read backwards (van der Corput's sequence)."""
    bits = len(names).bit_length()
    places = sorted(range(len(names)), key=lambda place: f"{place:0{bits}b}"[::-1])
    return [names[place] for place in places]


def _label(data: Path, file: str) -> int:
    number = _LAST_NUMBER.search(PurePosixPath(file).stem)
    if number is None or int(number.group()) >= CLASSES:
        raise InputError(f"{data}: {file}: its name does not end with a class from 0 to 999")
    return int(number.group())


def _pixels(data: Path, file: str) -> np.ndarray:
    """One image as the network takes it: float32 [1, 3, 224, 224], (pixel - 127) / 128."""
    from PIL import Image, UnidentifiedImageError

    try:
        if data.is_dir():
            content = (data / file).read_bytes()
        else:
            with zipfile.ZipFile(data) as archive:
                content = archive.read(file)
        with Image.open(io.BytesIO(content)) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, zipfile.BadZipFile) as error:
        raise InputError(f"{data}: {file} cannot be read as an image: {error}") from None
    if image.size != (SIDE, SIDE):
        crop = CROP * min(image.size)
        left, top = (image.width - crop) / 2, (image.height - crop) / 2
        box = (left, top, left + crop, top + crop)
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box)
    pixels = (np.asarray(image, dtype=np.float32) - np.float32(127)) / np.float32(128)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis])
