from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.graphics.occupancy import occupancy
from harness.records.compiled_code import Launch
from harness.specs.target import Multiprocessor

A100 = Multiprocessor(threads=2048, blocks=32, shared_memory_kb=164)


def launch(registers: int, shared: int = 0) -> Launch:
    return Launch(name="k", registers=registers, shared_memory_bytes=shared, spill_bytes=0)


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "share"),
    [
        (32, 0, 1024, 1.0),  # two blocks of 1,024 threads
        (32, 0, 256, 1.0),
        (64, 0, 256, 0.5),  # 65,536 registers are enough for 1,024 threads
        (72, 0, 128, 0.4375),  # seven blocks of four warps
        (255, 0, 256, 0.125),  # one block
        (32, 0, 32, 0.5),  # 32 blocks at most
        (32, 48 * 1024, 256, 0.375),  # three blocks of 49 KB
        (32, 0, 100, 1.0),  # four warps, if the last is not full
    ],
)
def test_occupancy_is_what_the_scarcest_resource_allows(
    registers: int, shared: int, threads: int, share: float
) -> None:
    assert occupancy(launch(registers, shared), threads, A100) == share


def test_occupancy_is_zero_where_not_one_block_fits() -> None:
    assert occupancy(launch(255), 1024, A100) == 0


def test_occupancy_is_unknown_where_the_multiprocessor_is() -> None:
    assert occupancy(launch(32), 256, None) is None


@given(
    registers=st.integers(1, 255),
    shared=st.integers(0, 49152),
    threads=st.integers(1, 1024),
    more=st.integers(0, 64),
)
def test_occupancy_is_a_share_and_never_grows_with_what_is_taken(
    registers: int, shared: int, threads: int, more: int
) -> None:
    found = occupancy(launch(registers, shared), threads, A100)
    assert found is not None and 0 <= found <= 1
    for other in (launch(registers + more, shared), launch(registers, shared + 128 * more)):
        worse = occupancy(other, threads, A100)
        assert worse is not None and worse <= found
