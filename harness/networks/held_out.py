"""Which samples tell how near fine-tuning came: nothing is fitted to them, before it either."""

from __future__ import annotations

_EVERY = 20
"""One sample in so many, which is enough to tell epochs apart."""


def held_out(count: int) -> list[int]:
    """Of so many samples, those that nothing is fitted to; none of few."""
    return list(range(0, count, _EVERY)) if count >= _EVERY else []


def fitted_to(count: int, of: int | None = None) -> list[int]:
    """The other ones, among the first `count` of so many samples; by default there are no more."""
    kept = set(held_out(of or count))
    return [at for at in range(count) if at not in kept]
