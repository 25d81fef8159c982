"""Masks have the sparsity that was asked for, keep what scores most, and fit their pattern."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.edges.blocks import EDGE, Block
from harness.edges.patterns import block_of, mask_of, require_pattern, shuffled
from harness.errors import CellFailure
from harness.specs.patterns import Pattern
from harness.specs.target import Hardware, Passes, TargetSpec, TvmTarget

LANES = 4
BLOCK = Block(1, LANES)
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
    mask = mask_of(scores, "block", sparsity, BLOCK)
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
    mask = mask_of(scores, "block", sparsity, BLOCK)
    kept = mask[:, ::LANES]
    least = np.where(kept, scores, np.inf).min(axis=0)
    most = np.where(kept, -np.inf, scores).max(axis=0)
    assert (least >= most).all()
    loose = mask_of(scores, "unstructured", sparsity, EDGE)
    if not loose.all():
        assert scores[loose].min() >= scores[~loose].max()


@given(
    shape=shapes,
    counts=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]),
    seed=st.integers(0, 100),
)
def test_of_every_few_neighbours_as_many_are_kept(
    shape: tuple[int, int], counts: tuple[int, int], seed: int
) -> None:
    kept, every = counts
    scores = scores_of_shape(shape, seed)
    mask = mask_of(scores, f"{kept}:{every}", 1 - kept / every, BLOCK)
    blocks = mask.reshape(shape[0], shape[1], LANES)
    assert (blocks == blocks[:, :, :1]).all()
    for begin in range(0, shape[0], every):
        part = blocks[begin : begin + every, :, 0]
        assert (part.sum(axis=0) == min(kept, len(part))).all()
        for vector in range(shape[1]):
            of_these = scores[begin : begin + every, vector]
            assert of_these[part[:, vector]].min() >= of_these[~part[:, vector]].max(initial=0)


@given(size=st.integers(1, 300), sparsity=sparsities)
def test_unstructured_mask_is_as_sparse_as_asked(size: int, sparsity: float) -> None:
    mask = mask_of(np.arange(size, dtype=float)[:, None], "unstructured", sparsity, EDGE)
    assert abs((1 - mask.mean()) - sparsity) <= 1 / size
    assert mask[-1] and mask.sum() >= 1


@pytest.mark.parametrize("pattern", ["block", "wide-block", "quad-block", "unstructured", "2:4"])
def test_shuffled_mask_keeps_as_many_but_others(pattern: Pattern) -> None:
    scores = scores_of_shape((40, 3), 1)
    block = block_of(pattern, LANES)
    mask = mask_of(scores, pattern, 0.5, block)
    other = shuffled(mask, pattern, block, 2)
    assert other.sum() == mask.sum() and (other != mask).any()
    if pattern == "2:4":
        assert (other.reshape(10, 4, -1).sum(axis=1) == 2).all()
    if pattern != "unstructured":
        assert (other.sum(axis=0) == mask.sum(axis=0)).all()
        blocks = other.reshape(40, block.inputs, 3, block.outputs)
        assert (blocks == blocks[:, :1, :, :1]).all()


def test_nothing_is_ever_left_of_nothing() -> None:
    """Rounding is upwards: even a layer of one input keeps it."""
    mask = mask_of(np.ones((1, 1)), "block", 0.99, BLOCK)
    assert mask is not None and mask.all()


@pytest.mark.parametrize("pattern", ["block", "wide-block", "quad-block", "2:4"])
def test_target_without_kernels_for_a_pattern_is_told(pattern: Pattern) -> None:
    target = TargetSpec(
        schema=1, name="small", architecture="x86", tvm=TvmTarget(), hardware=Hardware(cores=1)
    )
    require_pattern(pattern, target, LANES)
    with pytest.raises(CellFailure, match=f"'small' lacks the pattern '{pattern}': it has no vec"):
        require_pattern(pattern, target, 1)
    without = target.model_copy(update={"passes": Passes(sparse_kernels=False)})
    with pytest.raises(CellFailure, match="'sparse_kernels: false'; expected 'channel'"):
        require_pattern(pattern, without, LANES)
    for other in ("channel", "unstructured"):
        require_pattern(other, without, 1)
