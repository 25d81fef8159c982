from __future__ import annotations

from typing import Any

import pytest

from harness.devices.graphics.static_estimate import estimated_seconds, missing_figures
from harness.records.compiled_code import Launch
from harness.specs.target import Hardware, Multiprocessor

HARDWARE = Hardware(
    cores=10,
    multiprocessor=Multiprocessor(threads=2048, blocks=32, shared_memory_kb=164),
    peak_gflops=1000,
    memory_bandwidth_gbs=100,
)


def launch(**changes: Any) -> Launch:
    """A launch that keeps every multiprocessor busy: 1 ms of arithmetic at the peak."""
    figures = {
        "name": "k",
        "registers": 32,
        "shared_memory_bytes": 0,
        "spill_bytes": 0,
        "threads": 512,
        "blocks": 10,
        "flops": 1e9,
        "bytes": 1e6,
    }
    return Launch.model_validate({**figures, **changes})


@pytest.mark.parametrize(
    ("changes", "milliseconds"),
    [
        ({}, 1.0),
        ({"bytes": 1e9}, 10.0),
        ({"blocks": 5}, 2.0),
        ({"blocks": 11}, 20 / 11),
        ({"threads": 128}, 4.0),
        ({"threads": 128, "blocks": 40}, 1.0),
        ({"threads": 1024, "registers": 255}, None),
        ({"blocks": 0}, None),
    ],
)
def test_estimate_is_of_the_multiprocessor_that_gets_most(
    changes: dict[str, Any], milliseconds: float | None
) -> None:
    found = estimated_seconds([launch(**changes)], HARDWARE)
    assert found == (milliseconds and pytest.approx(1e-3 * milliseconds))


def test_launches_follow_one_another() -> None:
    assert estimated_seconds([launch(), launch(bytes=1e9)], HARDWARE) == pytest.approx(11e-3)


def test_nothing_is_estimated_without_the_figures() -> None:
    hardware = HARDWARE.model_copy(update={"peak_gflops": None})
    assert estimated_seconds([launch()], hardware) is None
    assert missing_figures(hardware) == ["hardware.peak_gflops"]
