"""What removing edges costs is what the layer's output loses when the others make up for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.edges.blocks import EDGE, Block
from harness.edges.elimination import elimination_costs
from harness.edges.patterns import mask_of

VECTOR = 3
BLOCK = Block(1, VECTOR)


def layer(inputs: int, vectors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and second moments of inputs that tell of each other."""
    generator = np.random.default_rng(seed)
    data = generator.standard_normal((60, inputs)) @ generator.standard_normal((inputs, inputs))
    return generator.standard_normal((inputs, vectors * VECTOR)), data.T @ data / 60 + np.eye(
        inputs
    )


def least_loss(dense: np.ndarray, moments: np.ndarray, kept: np.ndarray) -> float:
    """The least that is lost with these inputs only."""
    fitted = np.zeros_like(dense)
    fitted[kept] = np.linalg.solve(moments[np.ix_(kept, kept)], (moments @ dense)[kept])
    wrong = fitted - dense
    return float(np.trace(wrong.T @ moments @ wrong))


@given(
    count=st.integers(2, 12),
    vectors=st.integers(1, 3),
    inputs=st.sampled_from([1, 4]),
    seed=st.integers(0, 1000),
)
def test_cost_is_the_least_that_is_lost(count: int, vectors: int, inputs: int, seed: int) -> None:
    dense, moments = layer(count * inputs, vectors, seed)
    costs = elimination_costs(dense, moments, Block(inputs, VECTOR))
    assert costs.shape == (count, vectors)
    for vector in range(vectors):
        weights = dense[:, vector * VECTOR : (vector + 1) * VECTOR]
        order = np.argsort(costs[:, vector])
        for removed in range(1, count):
            left = np.sort(order[removed:])
            kept = (left[:, None] * inputs + np.arange(inputs)).ravel()
            expected = least_loss(weights, moments, kept)
            np.testing.assert_allclose(costs[order[removed - 1], vector], expected, rtol=1e-6)


@given(seed=st.integers(0, 100))
def test_first_to_go_is_the_cheapest_of_all(seed: int) -> None:
    dense, moments = layer(6, 1, seed)
    (first,) = np.argsort(elimination_costs(dense, moments, BLOCK)[:, 0])[:1]
    alone = [least_loss(dense, moments, np.delete(np.arange(6), gone)) for gone in range(6)]
    assert first == np.argmin(alone)


def test_many_inputs_at_a_time_cost_nearly_what_they_do_one_by_one() -> None:
    """A layer so wide that several inputs go in one step still beats keeping the largest."""
    dense, moments = layer(300, 1, 0)
    costs = elimination_costs(dense, moments, BLOCK)
    kept = mask_of(costs, "block", 0.5, EDGE)[:, 0]
    largest = mask_of(np.square(dense).sum(axis=1, keepdims=True), "block", 0.5, EDGE)[:, 0]
    ours = least_loss(dense, moments, np.flatnonzero(kept))
    assert ours < 0.9 * least_loss(dense, moments, np.flatnonzero(largest))
