"""Noise of two cells that take turns: log durations over rounds, shape [2, rounds].

The first ones are of machines that do nothing else. `contended`, `bursts`, `sticky`,
`one_sided` and `beside_a_load` are of machines with other work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from scipy import signal

Noise = Callable[[np.random.Generator, int], np.ndarray]


def outliers(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Two in a hundred samples take up to three times as long."""
    return np.where(random.random(shape) < 0.02, np.log(random.uniform(1, 3, shape)), 0)


def autoregressive(
    random: np.random.Generator, shape: tuple[int, ...], memory: float, sigma: float
) -> np.ndarray:
    steps = random.normal(0, sigma * math.sqrt(1 - memory**2), (*shape[:-1], shape[-1] + 200))
    return signal.lfilter([1], [1, -memory], steps)[..., 200:]


def lognormal(random: np.random.Generator, rounds: int) -> np.ndarray:
    """3 % noise, outliers, and slow drift that both share."""
    time = np.arange(rounds) / rounds
    drift = 0.1 * time + 0.05 * np.sin(2 * math.pi * (2 * time + random.random()))
    return random.normal(0, 0.03, (2, rounds)) + outliers(random, (2, rounds)) + drift


def wandering(random: np.random.Generator, rounds: int) -> np.ndarray:
    """A machine whose speed wanders by 10 %, for both, and each by itself with a short memory."""
    shared = autoregressive(random, (rounds,), 0.95, 0.10)
    own = autoregressive(random, (2, rounds), 0.25, 0.03)
    return own + shared + outliers(random, (2, rounds))


def remembering(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Each side's noise remembers the rounds before."""
    return autoregressive(random, (2, rounds), 0.3, 0.03) + outliers(random, (2, rounds))


def heavy_tailed(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Delays that only add time, without a finite variance."""
    return np.abs(random.standard_t(2, (2, rounds))) * 0.04


def quantised(random: np.random.Generator, rounds: int) -> np.ndarray:
    """A timer so coarse that most samples tie."""
    return np.log(np.maximum(1, np.round(20 * np.exp(random.normal(0, 0.03, (2, rounds))))))


def contended(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Single rounds scatter by 14 %, and remember the one before."""
    return autoregressive(random, (2, rounds), 0.3, 0.10) + outliers(random, (2, rounds))


def bursts(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Half of the time other work delays most samples of both, by 20 to 60 %, eight rounds on
    end."""
    delayed = _spells(random, (rounds,), 8) & (random.random((2, rounds)) < 0.7)
    delays = np.log(random.uniform(1.2, 1.6, (2, rounds)))
    return random.normal(0, 0.02, (2, rounds)) + delayed * delays


def sticky(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Each shares its core half of the time, by itself and three rounds on end, and takes half as
    long again."""
    shared = _spells(random, (2, rounds), 3)
    return random.normal(0, 0.03, (2, rounds)) + shared * math.log(1.5)


def one_sided(random: np.random.Generator, rounds: int) -> np.ndarray:
    """Other work delays one side alone, by half or nearly all its time, in six rounds of ten."""
    noise = random.normal(0, 0.01, (2, rounds))
    noise[random.integers(2)] += np.log(random.choice([1.0, 1.5, 1.9], rounds, p=[0.4, 0.35, 0.25]))
    return noise


def beside_a_load(random: np.random.Generator, rounds: int, block: int = 8) -> np.ndarray:
    """Rounds of one network twice, recorded on two cores with three to five busy processes. Blocks
    of one recording follow each other by chance, and with the sides swapped by chance: both run
    the same code."""
    recording = _recordings()[random.integers(len(_recordings()))]
    starts = random.integers(0, recording.shape[1] - block + 1, -(-rounds // block))
    blocks = [recording[:: random.choice([1, -1]), start : start + block] for start in starts]
    return np.concatenate(blocks, axis=1)[:, :rounds]


@cache
def _recordings() -> list[np.ndarray]:
    """Log microseconds of 24 groups of processes, [2, 40 rounds] each."""
    path = Path(__file__).with_name("rounds_beside_a_load.json")
    return [np.log(np.array(pair)) for pair in json.loads(path.read_text())]


def _spells(random: np.random.Generator, shape: tuple[int, ...], length: int) -> np.ndarray:
    """On and off by turns, in the last dimension, for geometric times of this mean."""
    changes = random.random(shape) < 1 / length
    start = random.random((*shape[:-1], 1)) < 0.5
    return (np.cumsum(changes, axis=-1) + start) % 2 == 1
