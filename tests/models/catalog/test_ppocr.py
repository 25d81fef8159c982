from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from catalog_fetching import fetched_or_skip, reference_run
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.models.catalog import ppocr
from harness.models.catalog.rendered_text import Box, scattered_lines, single_line
from harness.models.catalog.text_boxes import match_counts, overlap, text_boxes

CORNER = st.integers(0, 50)
SIDE = st.integers(1, 30)
BOXES = st.builds(
    lambda left, top, wide, high: (left, top, left + wide, top + high), CORNER, CORNER, SIDE, SIDE
)


def test_pages_are_the_same_when_drawn_again() -> None:
    one, other = (scattered_lines("page 3", 160) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels)
    assert one.boxes == other.boxes
    assert not np.array_equal(one.pixels, scattered_lines("page 4", 160).pixels)


def test_lines_lie_inside_and_apart_on_every_page() -> None:
    for at in range(50):
        picture = scattered_lines(f"page {at}", 160)
        assert 1 <= len(picture.boxes) <= 4
        for number, (left, top, right, bottom) in enumerate(picture.boxes):
            assert 0 <= left < right <= 160 and 0 <= top < bottom <= 160
            others = picture.boxes[number + 1 :]
            assert all(overlap((left, top, right, bottom), other) == 0 for other in others)


def test_line_is_turned_when_upside_down() -> None:
    one = single_line("line 1", 48, 192, upside_down=False).pixels
    other = single_line("line 1", 48, 192, upside_down=True).pixels
    assert one.shape == other.shape
    assert one.shape[0] == 48 and one.shape[1] <= 192
    # Grain differs from pixel to pixel; what is drawn under it does not.
    turned = other[::-1, ::-1].astype(np.float64)
    assert np.abs(one - turned).mean() < np.abs(one - other.astype(np.float64)).mean()


def test_normalised_is_blue_first_and_within_one() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[:, :, 2] = 255
    found = ppocr.normalised(pixels)
    assert found.dtype == np.float32
    assert found[:, 0, 0].tolist() == [1.0, -1.0, -1.0]


def test_box_grows_by_area_over_perimeter_when_unclipped() -> None:
    probability = np.zeros((60, 80), dtype=np.float32)
    probability[20:30, 10:50] = 0.9
    ((score, box),) = text_boxes(probability)
    high, wide = 11, 41  # dilation adds a row and a column
    grow = 1.6 * high * wide / (2 * (high + wide))
    assert score == pytest.approx(0.9 * 400 / 451)
    left, top, right, bottom = box
    assert (right - left, bottom - top) == pytest.approx((wide + 2 * grow, high + 2 * grow))
    assert left <= 10 - grow + 1 and top <= 20 - grow + 1


def test_boxes_stay_in_the_map_and_best_comes_first() -> None:
    probability = np.zeros((40, 100), dtype=np.float32)
    probability[0:10, 0:30] = 0.7
    probability[25:40, 60:100] = 0.95
    (first, near), (second, far) = text_boxes(probability)
    assert first > second
    assert near[2:] == (100, 40)
    assert far[:2] == (0, 0)


@pytest.mark.parametrize(
    "probability",
    [
        np.full((20, 20), np.nan),
        np.zeros((20, 20)),
        np.full((20, 20), 0.4),  # over the pixel threshold, under the region's
    ],
)
def test_no_box_is_found_when_nothing_is_text(probability: np.ndarray) -> None:
    assert text_boxes(probability) == []


@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_a_share(one: Box, other: Box) -> None:
    assert overlap(one, other) == overlap(other, one)
    assert 0 <= overlap(one, other) <= 1
    assert overlap(one, one) == 1


def test_overlap_follows_its_definition() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)


@given(st.lists(BOXES, max_size=6), st.lists(BOXES, max_size=6))
def test_matches_add_up_when_counted(found: list[Box], true: list[Box]) -> None:
    hits, wrong, missed = match_counts(found, true)
    assert (hits + wrong, hits + missed) == (len(found), len(true))
    assert match_counts(found, found) == (len(found), 0, 0)


def test_second_box_is_wrong_when_the_first_took_its_match() -> None:
    box = (0, 0, 10, 10)
    assert match_counts([box, box], [box]) == (1, 1, 0)


@pytest.mark.parametrize("task", [ppocr.detector_task, ppocr.classifier_task])
def test_task_refuses_data_because_it_draws_its_own(task: object, tmp_path: Path) -> None:
    assert callable(task)
    with pytest.raises(InputError, match="leave 'data' out"):
        task(tmp_path, tmp_path)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYEREDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "metric", "samples", "least", "most"),
    [
        ("ppocr-det", "F1 of text boxes at IoU 0.5", 200, 0.88, 0.95),
        ("ppocr-cls", "top-1 accuracy", 400, 0.89, 0.96),
    ],
)
def test_network_scores_as_expected_when_run_by_the_reference(
    name: str, metric: str, samples: int, least: float, most: float
) -> None:
    model = fetched_or_skip(name)
    assert model.task is not None
    found = model.task.evaluate(reference_run(model), lambda done, total: None)
    assert (found.metric, found.samples) == (metric, samples)
    assert least < found.value < most
    assert found.ci_low < found.value < found.ci_high
