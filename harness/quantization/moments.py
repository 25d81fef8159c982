"""The second moments of a layer's inputs, added up sample by sample."""

from __future__ import annotations

import numpy as np

from harness.networks.layers import Layer
from harness.networks.reconstruction import damped

_MOST_INPUTS = 8192
"""Layers of more inputs have the power of each alone: the inverse of more is not affordable."""


class Moments:
    """The second moments of one layer's inputs, `[inputs, inputs]`, of two halves of the samples;
    of very wide layers only the mean power of each input."""

    def __init__(self, layer: Layer) -> None:
        self.whole = _is_whole(layer)
        """Whether there are moments of pairs."""
        inputs = len(layer.matrix)
        self._power = np.zeros(inputs)
        self._halves = [np.zeros((inputs, inputs) if self.whole else (0, 0)) for _ in range(2)]
        self._rows = [0, 0]

    @staticmethod
    def size_of(layer: Layer) -> int:
        """The bytes that the moments take."""
        return 2 * 8 * len(layer.matrix) ** 2 if _is_whole(layer) else 8 * len(layer.matrix)

    def see(self, rows: np.ndarray, sample: int) -> None:
        """Add the inputs `[rows, inputs]` of a sample."""
        half = sample % 2
        wide = rows.astype(np.float64)
        self._power += np.square(wide).sum(axis=0)
        if self.whole:
            self._halves[half] += wide.T @ wide
        self._rows[half] += len(rows)

    def divide(self, factors: np.ndarray) -> None:
        """Divide the inputs that were seen by the factors of their channels."""
        each = np.tile(factors, len(self._power) // len(factors))
        self._power /= np.square(each)
        if self.whole:
            self._halves = [half / np.outer(each, each) for half in self._halves]

    @property
    def power(self) -> np.ndarray:
        """The mean power of each input, `[inputs, 1]`."""
        return np.asarray(self._power[:, None] / max(sum(self._rows), 1))

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """The moments of either half of the samples, with an inverse; of one sample both of it."""
        one, other = (
            damped(moments / max(rows, 1), max(rows, 1))
            for moments, rows in zip(self._halves, self._rows, strict=True)
        )
        return one, other if self._rows[1] else one

    @property
    def total(self) -> np.ndarray:
        """The moments of all samples, with an inverse; empty where there are none of pairs."""
        if not self.whole:
            return self._halves[0]
        rows = sum(self._rows)
        return damped((self._halves[0] + self._halves[1]) / max(rows, 1), rows)


def _is_whole(layer: Layer) -> bool:
    return len(layer.matrix) <= _MOST_INPUTS
