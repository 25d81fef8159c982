"""Magika, which tells a file's type from its first and last bytes, and files of known type."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.errors import InputError
from harness.models.accuracy.metrics import metric
from harness.models.catalog.entries import CatalogEntry
from harness.models.data.labelled_arrays import labelled_arrays
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, Task
from harness.models.fetch import Wheel, atomic_path, download, wheel_members
from harness.models.tensors import TensorSpec

SIDE_BYTES = 1024  # from each end of the file
BLOCK_BYTES = 4096  # read from each end before blanks are stripped
PADDING = 256  # no byte
MIN_BYTES = 8  # the model does not see shorter files, blanks aside
INPUT = TensorSpec("bytes", (1, 2 * SIDE_BYTES), "int32")
MODEL = Wheel(
    project="magika",
    version="1.0.3",
    filename="magika-1.0.3-py3-none-any.whl",
    sha256="938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803",
)
MODEL_FILE = "magika/models/standard_v3_3/model.onnx"
LABELS_FILE = "magika/models/standard_v3_3/config.min.json"
CORPUS = (
    Wheel(
        project="nikola",
        version="8.3.3",
        filename="nikola-8.3.3-py3-none-any.whl",
        sha256="cf01deb90e7062912cd96029fc477a41686bcd5bb1452f101c999f777fcc181a",
    ),
    Wheel(
        project="sphinx",
        version="9.0.4",
        filename="sphinx-9.0.4-py3-none-any.whl",
        sha256="5bebc595a5e943ea248b99c13814c1c5e10b3ece718976824ffa7959ff95fffb",
    ),
    Wheel(
        project="ansible-core",
        version="2.19.14",
        filename="ansible_core-2.19.14-py3-none-any.whl",
        sha256="d518d0e96fa75bedfe9b0a96d5b158aa712d092961824c115140c8677b88ff06",
    ),
    Wheel(
        project="notebook",
        version="7.6.5",
        filename="notebook-7.6.5-py3-none-any.whl",
        sha256="b27b4af6e410e7456cfffc6fb5a764dcfb7a331408907d483024d6ddb5ec05f2",
    ),
)
"""Wheels with files of many types, fetched for their content alone."""

CORPUS_FILE = "files.npz"
"""The model's inputs for the chosen files, and their labels' numbers."""

MOST_OF_A_TYPE = 60
LABEL_OF_SUFFIX = {
    ".bat": "batch",
    ".cfg": "ini",
    ".cls": "latex",
    ".cs": "cs",
    ".css": "css",
    ".gz": "gzip",
    ".ico": "ico",
    ".ini": "ini",
    ".jpg": "jpeg",
    ".js": "javascript",
    ".json": "json",
    ".md": "markdown",
    ".png": "png",
    ".po": "po",
    ".ps1": "powershell",
    ".psm1": "powershell",
    ".py": "python",
    ".rst": "rst",
    ".scss": "scss",
    ".sh": "shell",
    ".sty": "latex",
    ".svg": "svg",
    ".toml": "toml",
    ".ts": "typescript",
    ".ttf": "ttf",
    ".webp": "webp",
    ".woff": "woff",
    ".woff2": "woff2",
    ".xml": "xml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
"""Suffixes that settle a file's type; `.txt` says too little, `.html` may be a template."""


@dataclass(frozen=True)
class LabelledFile:
    """A file's content, the label its suffix stands for, and a hash of its content (hex)."""

    content: bytes
    label: str
    digest: str


def features(content: bytes) -> np.ndarray:
    """The model's input for a file: int32 [1, 2048], bytes as 0 to 255, none as 256.

    The first half is the beginning without leading blanks, the second the end without trailing
    ones, padded towards the file's middle.
    """
    first = content[:BLOCK_BYTES].lstrip()[:SIDE_BYTES]
    last = content[-BLOCK_BYTES:].rstrip()[-SIDE_BYTES:]
    found = np.full(INPUT.shape, PADDING, dtype=INPUT.dtype)
    found[0, : len(first)] = np.frombuffer(first, dtype=np.uint8)
    found[0, INPUT.shape[1] - len(last) :] = np.frombuffer(last, dtype=np.uint8)
    return found


def labelled_file(name: str, content: bytes) -> LabelledFile | None:
    """The file with its label; None when its suffix says too little or it is too short."""
    label = LABEL_OF_SUFFIX.get(PurePosixPath(name).suffix.lower())
    if label is None or len(content.strip()) < MIN_BYTES:
        return None
    return LabelledFile(content, label, hashlib.sha256(content).hexdigest())


def balanced(files: Iterable[LabelledFile], most: int = MOST_OF_A_TYPE) -> list[LabelledFile]:
    """At most `most` files of each label, no content twice, whatever the order they came in.

    Ordered by the hash of the content, which is as good as shuffled: any first few are a sample.
    """
    chosen = []
    count: dict[str, int] = defaultdict(int)
    for file in sorted({file.digest: file for file in files}.values(), key=lambda it: it.digest):
        if count[file.label] < most:
            count[file.label] += 1
            chosen.append(file)
    return chosen


def build(cache: Path) -> Path:
    """Fetch the model and the files it is scored on. Raises InputError."""
    model, _ = wheel_members(MODEL, [MODEL_FILE, LABELS_FILE], cache)
    corpus = cache / CORPUS_FILE
    if not corpus.is_file():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".corpus-") as scratch:
            wheels = [download(wheel, Path(scratch)) for wheel in CORPUS]
            files = balanced(file for wheel in wheels for file in _files_of_wheel(wheel))
        labels = _numbers_of_labels(cache)
        with atomic_path(corpus) as partial, partial.open("wb") as stream:
            np.savez_compressed(
                stream,
                bytes=np.stack([features(file.content) for file in files]),
                labels=np.asarray([labels[file.label] for file in files], dtype=np.int64),
            )
    return model


def task(cache: Path, data: Path | None) -> Task:
    """The fetched files, or those in the user's folder whose suffix tells their type."""
    if data is None:
        return labelled_arrays(cache / CORPUS_FILE, "top1", (INPUT,))
    if not data.is_dir():
        raise InputError(f"{data}: expected a folder of files whose suffixes tell their types")
    files = balanced(_files_of_folder(data))
    if not files:
        raise InputError(
            f"{data}: no file of a known type in it; expected suffixes {', '.join(LABEL_OF_SUFFIX)}"
        )
    labels = _numbers_of_labels(cache)

    def feeds(at: int) -> Feeds:
        return {INPUT.name: features(files[at].content)}

    return Samples(metric("top1"), [np.asarray(labels[file.label]) for file in files], feeds)


def _files_of_wheel(path: Path) -> Iterator[LabelledFile]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if file := labelled_file(name, archive.read(name)):
                yield file


def _files_of_folder(folder: Path) -> Iterator[LabelledFile]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in LABEL_OF_SUFFIX and path.is_file():
            try:
                file = labelled_file(path.name, path.read_bytes())
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
            if file:
                yield file


def _numbers_of_labels(cache: Path) -> dict[str, int]:
    """Label to its place in the model's output."""
    described = json.loads((cache / PurePosixPath(LABELS_FILE).name).read_text(encoding="utf-8"))
    return {label: number for number, label in enumerate(described["target_labels_space"])}


ENTRY = CatalogEntry(
    name="magika",
    summary="Magika v3.3, 0.78 M parameters: embedding and convolution over a file's bytes",
    task_text="which of 214 types a file has",
    licence=(
        "Apache-2.0 (weights); MIT (nikola), BSD-2-Clause (sphinx), GPL-3.0-or-later "
        "(ansible-core), BSD-3-Clause (notebook): the wheels the files are from"
    ),
    inputs=(INPUT,),
    preprocessing=(
        "the first and the last 1,024 bytes, blanks at both ends of the file stripped, missing "
        "ones as 256"
    ),
    data=(
        f"files of four wheels, at most {MOST_OF_A_TYPE} of a type, whose suffix is the label; "
        "'data' may name a folder of files"
    ),
    metric="top1",
    build=build,
    task=task,
    wheels=(MODEL, *CORPUS),
    files=(MODEL_FILE, LABELS_FILE),
)
