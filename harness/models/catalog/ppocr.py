"""PP-OCR's text detector and line-orientation classifier, scored on rendered text.

Preprocessing and thresholds are those of RapidOCR 1.4.4's `config.yaml`, which the networks come
with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.models.accuracy.labels import ANYTHING
from harness.models.accuracy.metrics import Metric, metric
from harness.models.accuracy.scores import Outputs, f1
from harness.models.catalog.entries import CatalogEntry
from harness.models.catalog.rendered_text import Box, scattered_lines, single_line
from harness.models.catalog.text_boxes import match_counts, text_boxes
from harness.models.data.samples import Samples
from harness.models.data.task import Feeds, Task
from harness.models.fetch import Wheel, wheel_members
from harness.models.tensors import TensorSpec

WHEEL = Wheel(
    project="rapidocr-onnxruntime",
    version="1.4.4",
    filename="rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
    sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
)
DETECTOR_FILE = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
CLASSIFIER_FILE = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
DETECTOR_INPUT = TensorSpec("x", (1, 3, 160, 160), "float32")
CLASSIFIER_INPUT = TensorSpec("x", (1, 3, 48, 192), "float32")
PAGES = 200
LINES = 400
LICENCE = "Apache-2.0"


def normalised(pixels: np.ndarray) -> np.ndarray:
    """uint8 [height, width, red-green-blue] to float32 [3, height, width], -1 to 1, blue first."""
    scaled = pixels[:, :, ::-1].astype(np.float32) / np.float32(127.5) - np.float32(1)
    return scaled.transpose(2, 0, 1)


def _matched_boxes(outputs: Outputs, label: np.ndarray) -> Sequence[float]:
    """Hits, false boxes and missed boxes on one page; `label` float [boxes, 4]."""
    true: list[Box] = [(row[0], row[1], row[2], row[3]) for row in label.tolist()]
    return [
        float(count)
        for count in match_counts([box for _, box in text_boxes(outputs[0][0, 0])], true)
    ]


BOX_F1 = Metric(
    "f1-iou50",
    "F1 of text boxes at IoU 0.5",
    ANYTHING,
    "F1 of the boxes of a page",
    sample=_matched_boxes,
    aggregate=f1,
)


def detector_task(_cache: Path, data: Path | None) -> Task:
    """Rendered pages with the boxes of their lines."""
    _no_data("ppocr-det", data)
    side = DETECTOR_INPUT.shape[2]
    labels = [np.asarray(scattered_lines(f"page {at}", side).boxes) for at in range(PAGES)]

    def feeds(at: int) -> Feeds:
        picture = scattered_lines(f"page {at}", side)
        return {DETECTOR_INPUT.name: np.ascontiguousarray(normalised(picture.pixels)[np.newaxis])}

    return Samples(BOX_F1, labels, feeds)


def classifier_task(_cache: Path, data: Path | None) -> Task:
    """Rendered lines, every other one upside down."""
    _no_data("ppocr-cls", data)
    height, width = CLASSIFIER_INPUT.shape[2:]

    def feeds(at: int) -> Feeds:
        picture = single_line(f"line {at}", height, width, upside_down=at % 2 == 1)
        line = normalised(picture.pixels)
        padded = np.zeros(CLASSIFIER_INPUT.shape, dtype=np.float32)
        padded[0, :, :, : line.shape[2]] = line
        return {CLASSIFIER_INPUT.name: padded}

    return Samples(metric("top1"), np.arange(LINES) % 2, feeds)


def _no_data(name: str, data: Path | None) -> None:
    if data is not None:
        raise InputError(f"model '{name}': its data is rendered; leave 'data' out (found {data})")


def _extract(member: str, cache: Path) -> Path:
    return wheel_members(WHEEL, [member], cache)[0]


DETECTOR = CatalogEntry(
    name="ppocr-det",
    summary="PP-OCRv4 text detector, 1.17 M parameters: pyramid with Resize and ConvTranspose",
    task_text="where the text is: the probability of each pixel to be inside a line",
    licence=LICENCE,
    inputs=(DETECTOR_INPUT,),
    preprocessing="blue-green-red, pixel / 127.5 - 1",
    data=f"{PAGES} rendered pages of one to four lines, fonts of matplotlib, seeded",
    metric=BOX_F1.name,
    build=lambda cache: _extract(DETECTOR_FILE, cache),
    task=detector_task,
    wheels=(WHEEL,),
    files=(DETECTOR_FILE,),
)
CLASSIFIER = CatalogEntry(
    name="ppocr-cls",
    summary="PP-OCR line orientation, 0.13 M parameters: MobileNetV3-style",
    task_text="whether a line of text is upright (0) or upside down (1)",
    licence=LICENCE,
    inputs=(CLASSIFIER_INPUT,),
    preprocessing="48 high, at most 192 wide, blue-green-red, pixel / 127.5 - 1, zeros right of it",
    data=f"{LINES} rendered lines, every other one upside down, fonts of matplotlib, seeded",
    metric="top1",
    build=lambda cache: _extract(CLASSIFIER_FILE, cache),
    task=classifier_task,
    wheels=(WHEEL,),
    files=(CLASSIFIER_FILE,),
)
