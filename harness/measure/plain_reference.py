"""A compressed network, compiled plainly: the reference of the cell that it was compiled for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.files.arrays import read_arrays, write_arrays
from harness.measure.judgement import Judge, Opinion, Opinions
from harness.records.artifact import ROUNDINGS, Artifact

NAME = "the compressed network, compiled plainly"
_JUDGE = "the compressed network with its values moved before they are rounded to integers"
_PAIRS = 8
"""How many ways of moving values are looked at; each is taken in both directions."""
MOVED = 2.0**-18
"""By which share values are moved: about as far as sums in single precision are from each other
that are added up in another order, and several times as far as fused kernels move one of them."""

Rows = list[list[np.ndarray]]


class PlainReference:
    """The reference in `folder` on the inputs of a file. `run` gives the network's outputs on the
    inputs of another file below `work`.

    As a judge it tells what depends on rounding to integers: a value that is moved by next to
    nothing may become the next integer, and outputs move with it. `exact` judges a network that
    rounds nothing.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Path,
        work: Path,
        seed: int,
        run: Callable[[Path], Rows],
        exact: Judge,
    ) -> None:
        found = [each for each in Artifact.read(folder).inputs if each.name == ROUNDINGS]
        self._roundings = found[0].shape[0] if found else 0
        self._feeds = read_arrays(inputs)
        self._work = work
        self._seed = seed
        self._run = run
        self._exact = exact
        self._moved: list[Rows] = []
        self.outputs = self._on([np.ones(self._roundings, np.float32)])[0]
        """Its outputs on each input."""

    def __call__(self, at: int, others: int) -> Opinions | str:
        """The opinions on the outputs for one input; with `others`, how far they move."""
        if not self._roundings:
            return self._exact(at, others)
        if others and not self._moved:
            moves = directions(self._roundings, np.random.default_rng(self._seed))
            self._moved = self._on([(1 + MOVED * each).astype(np.float32) for each in moves])
        moved = [variant[at] for variant in self._moved] if others else []
        return Opinions(
            _JUDGE,
            [
                Opinion(value, tuple(row[index] for row in moved), anywhere=True)
                for index, value in enumerate(self.outputs[at])
            ],
        )

    def _on(self, factors: Sequence[np.ndarray]) -> list[Rows]:
        """The outputs on each input with each of some factors."""
        path = self._work / "reference-inputs.npz"
        write_arrays(
            path,
            [
                [*feeds.items(), *([(ROUNDINGS, each)] if self._roundings else [])]
                for each in factors
                for feeds in self._feeds
            ],
        )
        try:
            rows = self._run(path)
        finally:
            path.unlink(missing_ok=True)
        count = len(self._feeds)
        return [rows[at : at + count] for at in range(0, len(rows), count)]


def directions(places: int, random: np.random.Generator) -> list[np.ndarray]:
    """Which way the values of each place are moved, 1, -1 or not at all, in each of some runs.

    Every run has its opposite. In half of them all places are moved. But a value that is moved
    takes those after it away from where they lay between two steps: what a place does by itself
    shows where others stay. In the other half few places are moved one by one, and of many, half.
    """
    half = _PAIRS // 2
    ways = list(random.choice([-1.0, 1.0], (half, places)))
    if places <= half:
        ways += list(np.eye(places))
    else:
        moved = random.permuted(np.tile(np.arange(half) < half // 2, (places, 1)), axis=1)
        ways += list((moved * random.choice([-1.0, 1.0], moved.shape)).T)
    return [sign * way for way in ways for sign in (1, -1)]
