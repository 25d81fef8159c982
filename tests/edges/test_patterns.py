"""Masks have the sparsity that was asked for, keep what scores most, and fit their pattern."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.edges.patterns import group_of, mask_of, shuffled
from harness.spec import Pattern

LANES = 4
shapes = st.tuples(st.integers(1, 20), st.integers(1, 5))
sparsities = st.floats(0.05, 0.95)


def scores_of_shape(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Of each group of edges."""
    return np.random.default_rng(seed).random(shape)


@given(shape=shapes, sparsity=sparsities, seed=st.integers(0, 100))
def test_block_mask_is_balanced_and_no_sparser_than_asked(
    shape: tuple[int, int], sparsity: float, seed: int
) -> None:
    scores = scores_of_shape(shape, seed)
    mask = mask_of(scores, "block", sparsity, LANES)
    assert mask.shape == (shape[0], shape[1] * LANES)
    blocks = mask.reshape(shape[0], shape[1], LANES)
    assert (blocks == blocks[:, :, :1]).all(), "a block is kept whole or dropped whole"
    kept = blocks[:, :, 0].sum(axis=0)
    assert (kept == kept[0]).all()
    gone = 1 - kept[0] / shape[0]
    assert gone <= sparsity + 1e-9 < gone + 1 / shape[0] + 1e-6


@given(shape=shapes, sparsity=sparsities, seed=st.integers(0, 100))
def test_what_is_kept_scores_more_than_what_is_dropped(
    shape: tuple[int, int], sparsity: float, seed: int
) -> None:
    scores = scores_of_shape(shape, seed)
    mask = mask_of(scores, "block", sparsity, LANES)
    kept = mask[:, ::LANES]
    least = np.where(kept, scores, np.inf).min(axis=0)
    most = np.where(kept, -np.inf, scores).max(axis=0)
    assert (least >= most).all()
    loose = mask_of(scores, "unstructured", sparsity, 1)
    if not loose.all():
        assert scores[loose].min() >= scores[~loose].max()


@given(size=st.integers(1, 300), sparsity=sparsities)
def test_unstructured_mask_is_as_sparse_as_asked(size: int, sparsity: float) -> None:
    mask = mask_of(np.arange(size, dtype=float)[:, None], "unstructured", sparsity, 1)
    assert abs((1 - mask.mean()) - sparsity) <= 1 / size
    assert mask[-1] and mask.sum() >= 1


@pytest.mark.parametrize("pattern", ["block", "unstructured"])
def test_shuffled_mask_keeps_as_many_but_others(pattern: Pattern) -> None:
    scores = scores_of_shape((40, 3), 1)
    group = group_of(pattern, LANES)
    mask = mask_of(scores, pattern, 0.5, group)
    other = shuffled(mask, pattern, group, 2)
    assert other.sum() == mask.sum() and (other != mask).any()
    if pattern == "block":
        assert (other.sum(axis=0) == mask.sum(axis=0)).all()
        blocks = other.reshape(40, 3, LANES)
        assert (blocks == blocks[:, :, :1]).all()


def test_nothing_is_ever_left_of_nothing() -> None:
    """Rounding is upwards: even a layer of one input keeps it."""
    mask = mask_of(np.ones((1, 1)), "block", 0.99, LANES)
    assert mask is not None and mask.all()
