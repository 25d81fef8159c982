"""What is left of a layer is fitted to what the layer gave, and nothing dropped comes back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.edges.blocks import Block, summed
from harness.edges.patterns import mask_of
from harness.networks.reconstruction import reconstructed

LANES = 4
BLOCK = Block(1, LANES)


def correlated(rows: int, inputs: int, generator: np.random.Generator) -> np.ndarray:
    """Inputs that tell of each other, as those of a network do."""
    mixing = generator.standard_normal((inputs // 2, inputs))
    return generator.standard_normal((rows, inputs // 2)) @ mixing


@given(
    inputs=st.integers(4, 24),
    vectors=st.integers(1, 3),
    sparsity=st.floats(0.2, 0.8),
    seed=st.integers(0, 1000),
)
def test_fitted_layer_is_closer_and_as_sparse(
    inputs: int, vectors: int, sparsity: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    dense = generator.standard_normal((inputs, vectors * LANES))
    data = correlated(100, inputs, generator)
    mask = mask_of(summed(dense**2, BLOCK), "block", sparsity, BLOCK)
    fitted, _ = reconstructed(dense, mask, data, data)
    assert (fitted[~mask] == 0).all()

    def error(weights: np.ndarray) -> float:
        return float(np.square(data @ (weights - dense)).sum())

    assert error(fitted) <= error(dense * mask) + 1e-9


def test_nothing_dropped_is_nothing_changed() -> None:
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((8, 8))
    data = generator.standard_normal((50, 8))
    fitted, _ = reconstructed(dense, np.ones_like(dense, bool), data, data)
    np.testing.assert_allclose(fitted, dense, atol=1e-9)


def test_what_an_earlier_layer_lost_is_made_up_for() -> None:
    """Inputs that come in at half their size are weighed twice as much."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((6, 4))
    before = generator.standard_normal((400, 6))
    fitted, _ = reconstructed(dense, np.ones_like(dense, bool), before / 2, before)
    np.testing.assert_allclose(fitted, 2 * dense, rtol=0.05)


def test_an_input_that_is_always_zero_is_no_trouble() -> None:
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((6, 4))
    data = generator.standard_normal((50, 6))
    data[:, 2] = 0
    fitted, _ = reconstructed(dense, np.ones_like(dense, bool), data, data)
    assert np.isfinite(fitted).all()
    nothing = np.zeros_like(data)
    fitted, _ = reconstructed(dense, dense > 0, nothing, nothing)
    assert np.isfinite(fitted).all()


def test_bias_makes_up_for_what_is_missing_in_the_mean() -> None:
    """Inputs that are never negative, as after most activations."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((12, 4))
    data = np.abs(generator.standard_normal((500, 12))) + 1
    block = Block(1, 4)
    mask = mask_of(summed(dense**2, block), "block", 0.5, block)
    without, none = reconstructed(dense, mask, data, data)
    fitted, shift = reconstructed(dense, mask, data, data, biased=True)
    assert not none.any() and (fitted[~mask] == 0).all()
    wrong = data @ (fitted - dense) + shift
    np.testing.assert_allclose(wrong.mean(axis=0), 0, atol=1e-9)
    assert np.square(wrong).sum() < np.square(data @ (without - dense)).sum()


def test_few_rows_are_not_trusted_with_how_inputs_go_together() -> None:
    """With fewer rows than inputs any sample can be fitted; others must not pay for it."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((120, 8))
    data = correlated(30, 120, generator)
    others = correlated(400, 120, np.random.default_rng(1))
    block = Block(1, 8)
    mask = mask_of(summed(dense**2, block), "block", 0.5, block)
    fitted, _ = reconstructed(dense, mask, data, data)

    def error(weights: np.ndarray) -> float:
        return float(np.square(others @ (weights - dense)).sum())

    assert error(fitted) < 1.1 * error(dense * mask)
