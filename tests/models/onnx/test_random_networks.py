"""Random networks of supported operators compute what ONNX Runtime computes, fused or not.

`benchmarks/random_networks.py` does the same with hundreds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from drawn_networks import DRAWS, drawn
from random_networks import result_of

COUNT = 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "level"),
    [(seed, "full") for seed in range(COUNT)] + [(seed, "none") for seed in range(0, COUNT, 3)],
)
def test_random_network(tmp_path: Path, seed: int, level: str) -> None:
    assert result_of(seed, level, tmp_path) == "ok"


def test_networks_are_of_many_operators_and_always_the_same() -> None:
    networks = [drawn(seed) for seed in range(COUNT)]
    used = Counter(operator for network in networks for operator in network.operators)
    assert all(4 <= len(network.operators) <= 12 for network in networks)
    assert len(used) > 0.6 * len(DRAWS)
    again = drawn(COUNT - 1)
    assert again.model == networks[-1].model
