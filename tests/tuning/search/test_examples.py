"""What the cost model learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tuning.search.examples import MOST, MOST_PER_KERNEL, Examples

FEATURES = 3


def schedules(seconds: list[float], stores: int = 2) -> list[np.ndarray]:
    """Features of schedules, all of them their seconds."""
    return [np.full((stores, FEATURES), value, np.float32) for value in seconds]


def examples(**kernels: list[float]) -> Examples:
    found = Examples()
    for name, seconds in kernels.items():
        found.add(name, schedules(seconds), seconds)
    return found


def scores(found: Examples) -> list[tuple[float, float]]:
    """The seconds of each schedule and its score."""
    return [(float(rows[0, 0]), score) for rows, score in found.scored()]


def test_score_is_relative_to_the_fastest_of_the_kernel() -> None:
    found = examples(conv=[2.0, 4.0], dense=[8.0, 32.0])
    assert scores(found) == [(2.0, 1.0), (4.0, 0.5), (8.0, 1.0), (32.0, 0.25)]


def test_failed_schedules_score_nothing() -> None:
    assert scores(examples(conv=[1.0, np.inf]))[1] == (np.inf, 0.0)
    assert scores(examples(conv=[np.inf]))[0] == (np.inf, 0.0)


def test_schedules_without_features_are_left_out() -> None:
    found = Examples()
    found.add("conv", schedules([1.0], stores=0), [1.0])
    assert len(found) == 0


@given(st.lists(st.floats(1, 100), min_size=1, max_size=600))
def test_fastest_and_latest_are_kept_when_there_are_too_many(seconds: list[float]) -> None:
    kept = [value for value, _ in scores(examples(conv=seconds))]
    assert len(kept) == min(len(seconds), MOST_PER_KERNEL)
    rounded = [float(np.float32(value)) for value in seconds]
    assert min(kept) == min(rounded)
    if len(seconds) > MOST_PER_KERNEL:
        half = MOST_PER_KERNEL // 2
        assert sorted(kept)[:half] == sorted(rounded)[:half]
        assert kept[-1] == rounded[-1]


def test_number_of_schedules_is_bounded_over_many_kernels() -> None:
    found = Examples()
    for at in range(300):
        seconds = [1.0 + at + part for part in range(100)]
        found.add(f"kernel{at}", schedules(seconds), seconds)
        assert len(found) <= MOST
    last = [value for value, _ in scores(found)][-100:]
    assert last == [300.0 + part for part in range(100)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = examples(conv=[2.0, 4.0, np.inf], dense=[8.0])
    found.write(tmp_path / "examples.npz")
    again = Examples.read(tmp_path / "examples.npz")
    assert scores(again) == scores(found)
    again.add("conv", schedules([1.0]), [1.0])
    assert (1.0, 1.0) in scores(again)


@pytest.mark.parametrize("content", [None, b"", b"nothing that NumPy reads", b"PK\x03\x04 cut off"])
def test_nothing_is_known_when_the_file_is_missing_or_damaged(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "examples.npz"
    if content is not None:
        path.write_bytes(content)
    assert len(Examples.read(path)) == 0


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "examples.npz"
    np.savez(path, kernels=np.array([{"any": "object"}], dtype=object))
    assert len(Examples.read(path)) == 0
