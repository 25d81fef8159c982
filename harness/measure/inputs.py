"""The inputs that a model is verified and measured on: real ones, or random ones that say so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from harness.baselines.base import Feeds
from harness.models.data.task import ScoredInputs
from harness.models.tensors import TensorSpec, ValueRange


def verification_inputs(
    task: ScoredInputs | None,
    inputs: Sequence[TensorSpec],
    count: int,
    seed: int,
    ranges: Mapping[str, ValueRange] = MappingProxyType({}),
    state: Collection[str] = (),
) -> tuple[list[Feeds], bool]:
    """`count` inputs, and whether they are real (from labelled data) or random.

    Random ones are of another kind each, see `KINDS`, and another seed. Their integers are those
    that `ranges` allows; bytes and other integers of at most 16 bits have all values that there
    are; any other integer is 0 or 1, as in masks. The inputs of a network's `state` are real in
    the first ones alone, and random beside other real inputs: data have its first values only.
    """
    if task is not None:
        rows: list[Feeds] = []
        kept = [spec for spec in inputs if spec.name in state]
        for at, real in enumerate(task.examples(count)):
            drawn = _drawn(np.random.default_rng([seed, at]), kept, _normal, ranges) if at else {}
            rows.append({**real, **drawn})
        return rows, True
    return [
        _drawn(np.random.default_rng([seed, at]), inputs, KINDS[at % len(KINDS)], ranges)
        for at in range(count)
    ], False


def cautious_inputs(inputs: Sequence[TensorSpec], count: int, seed: int) -> list[Feeds]:
    """Inputs of which little can go wrong, for networks that do not take others: standard normal
    floats, and integers of 0 or 1, which are valid as indices and as masks."""
    ranges = {spec.name: ValueRange(extent=2) for spec in inputs}
    return [
        _drawn(np.random.default_rng([seed, at]), inputs, _normal, ranges) for at in range(count)
    ]


Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.standard_normal(shape)


def _wide(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of either sign, from thousandths to thousands; a tenth of them zeros, of either sign too."""
    signs = generator.choice([-1.0, 1.0], shape)
    return signs * np.where(
        generator.random(shape) < 0.1, 0.0, 10.0 ** generator.uniform(-3, 3, shape)
    )


def _unit(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From 0 to 1, as pixels and probabilities are."""
    return generator.random(shape)


def _negative(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -np.abs(3 * generator.standard_normal(shape))


KINDS: tuple[Draw, ...] = (_normal, _wide, _unit, _negative)
"""The distributions of floats of random inputs, one after the other. Latency is measured on
the first."""
_MOST_OF_FLOAT16 = 10.0
"""The largest magnitude of 16-bit floats: sums of thousands overflow."""
_SPECIAL = (np.inf, -np.inf, np.nan)


def _drawn(
    generator: np.random.Generator,
    inputs: Sequence[TensorSpec],
    draw: Draw,
    ranges: Mapping[str, ValueRange],
) -> Feeds:
    found = {}
    for spec in inputs:
        dtype, allowed = np.dtype(spec.dtype), ranges.get(spec.name, ValueRange())
        if dtype.kind in "biu":
            low, end = _integers(dtype, allowed)
            whole = generator.integers(low, end, spec.shape, np.int64)
            found[spec.name] = np.where(allowed.divides & (whole == 0), 1, whole).astype(dtype)
            continue
        values = np.asarray(draw(generator, spec.shape))
        if dtype.itemsize == 2:
            values = np.clip(values, -_MOST_OF_FLOAT16, _MOST_OF_FLOAT16)
        if allowed.infinite and draw is _wide and values.size:
            places = generator.choice(values.size, min(values.size, 2 * len(_SPECIAL)), False)
            values.flat[places] = np.resize(_SPECIAL, len(places))
        found[spec.name] = values.astype(dtype)
    return found


def _integers(dtype: np.dtype, allowed: ValueRange) -> tuple[int, int]:
    """The smallest integer, and one more than the largest."""
    if dtype.kind == "b":
        return 0, 2
    if allowed.extent is not None:
        return 0, min(allowed.extent, int(np.iinfo(dtype).max) + 1)
    if dtype.itemsize <= 2:
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) + 1
    return 0, 2
