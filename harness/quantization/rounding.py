"""Rounds a layer's weights to whole multiples of a scale for each output.

`second_order` rounds one input's weights after the other, those that matter most first. The error
is made up for by the weights that are left, as the second moments of the inputs say.

Sources
-------
[GPTQ]  E. Frantar et al., GPTQ: accurate post-training quantization for generative pre-trained
        transformers, ICLR 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.kernels.dot_products import BYTES, MOST_WORDS, PAIR, Products
from harness.specs.quantization import Rounding

MOST = 127
"""The largest step: int8 without its least value, which has no opposite."""
MOST_IN_PAIRS = PAIR // 2
"""The largest step of which any two fit into sums of 16 bits."""
_TOGETHER = MOST_WORDS * BYTES
"""How many neighbouring inputs have products that are summed in 16 bits, a half each."""
_NOTHING = 1e-30
"""Weights that are no larger are 0: of steps of denormal numbers little is left."""
_SHARES = np.linspace(0.7, 1.0, 31)
"""Scales that are looked at, as shares of what the largest weight needs."""


@dataclass(frozen=True)
class Steps:
    """The type of data, and the largest step of weights."""

    data: str
    most: int


def steps_for(products: Products, reduce_range: bool | Literal["auto"]) -> Steps:
    """The steps that a target multiplies, `auto`: in a reduced range where that is faster."""
    reduced = products.pairs if reduce_range == "auto" else reduce_range
    return Steps(products.dtype, MOST_IN_PAIRS if reduced else MOST)


def sums_in_16_bits(matrix: np.ndarray) -> np.ndarray:
    """The sums of absolute values of weights `[inputs, outputs]` whose products are summed in 16
    bits, as `[groups, 2, outputs]`. The inputs are a multiple of eight."""
    halves = np.abs(matrix).reshape(-1, MOST_WORDS, 2, BYTES // 2, matrix.shape[1])
    return np.asarray(halves.sum(axis=(1, 3)))


def summed_together(most: int, inputs: int) -> bool:
    """Whether a layer's steps shall be so small that two words of products are summed in 16 bits:
    where one word's are, and a place's `inputs` fill words by twos."""
    return most == MOST_IN_PAIRS and inputs % _TOGETHER == 0


def within_sums(steps: np.ndarray) -> np.ndarray:
    """Steps whose sums fit into 16 bits: of those that do not, the largest are nearer to 0."""
    found = steps.copy()
    grouped = found.reshape(-1, MOST_WORDS, 2, BYTES // 2, steps.shape[1])
    while (beyond := np.abs(grouped).sum(axis=(1, 3)) > PAIR).any():
        for group, half, output in np.argwhere(beyond):
            four = grouped[group, :, half, :, output]
            at = np.unravel_index(np.argmax(np.abs(four)), four.shape)
            grouped[group, at[0], half, at[1], output] -= np.sign(four[at])
    return found


def scales_of(
    matrix: np.ndarray, power: np.ndarray, most: int, *, together: bool = False
) -> np.ndarray:
    """A scale for each output of weights `[inputs, outputs]`, of the least squared error with steps
    up to `most`, and `together` with sums that fit into 16 bits but for rounding. Errors are
    weighed by the mean `power` of the inputs, `[inputs, 1]`. 1 where all weights are 0."""
    largest = np.abs(matrix).max(axis=0, initial=0)
    whole = np.where(largest > _NOTHING, largest / most, 1.0)
    least_scale = np.zeros_like(whole)
    if together:
        least_scale = sums_in_16_bits(matrix).max(axis=(0, 1), initial=0) / PAIR
        whole = np.maximum(whole, least_scale)
    best, least = whole, np.full(whole.shape, np.inf)
    for share in _SHARES[::-1]:
        scales = np.maximum(whole * share, least_scale)
        error = (power * np.square(nearest(matrix, scales, most) * scales - matrix)).sum(axis=0)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return best


def nearest(matrix: np.ndarray, scales: np.ndarray, most: int) -> np.ndarray:
    """The nearest steps, up to `most`."""
    return np.asarray(np.clip(np.rint(matrix / scales), -most, most))


def second_order(
    matrix: np.ndarray, scales: np.ndarray, most: int, moments: np.ndarray
) -> np.ndarray:
    """The steps of [GPTQ], up to `most`; `moments` are the inputs' second moments, which have an
    inverse. A weight of 0 stays 0."""
    order = np.argsort(-np.diag(moments), kind="stable")
    left = matrix[order].astype(np.float64)
    kept = left != 0
    inverse = np.linalg.inv(moments[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    steps = np.zeros_like(left)
    for at in range(len(left)):
        steps[at] = nearest(left[at], scales, most) * kept[at]
        error = (left[at] - steps[at] * scales) / upper[at, at]
        left[at + 1 :] -= np.outer(upper[at, at + 1 :], error)
    found = np.zeros_like(steps)
    found[order] = steps
    return found


def _alone(matrix: np.ndarray, scales: np.ndarray, most: int, _: np.ndarray) -> np.ndarray:
    return nearest(matrix, scales, most)


Round = Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]
"""The steps of weights `[inputs, outputs]` at some scales, up to the most, by the moments of the
inputs."""
ROUNDINGS: Mapping[Rounding, Round] = {"nearest": _alone, "second-order": second_order}


def best_rounding(
    matrix: np.ndarray, scales: np.ndarray, most: int, moments: np.ndarray, others: np.ndarray
) -> Rounding:
    """What is nearest to the layer's outputs for inputs of other moments than it was fitted to."""

    def error(name: Rounding) -> float:
        apart = ROUNDINGS[name](matrix, scales, most, moments) * scales - matrix
        return float(np.sum(apart * (others @ apart)))

    return min(ROUNDINGS, key=error)
