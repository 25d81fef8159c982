"""How long the kernels of a network take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KernelTimes:
    """`kernels` has the seconds of each call, by kernel; `outside` the seconds that each inference
    spent in none of them."""

    kernels: dict[str, list[float]]
    outside: list[float]
