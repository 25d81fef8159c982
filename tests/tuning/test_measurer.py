"""A candidate that crashes or does not compile costs itself; the next one is measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.tuning.measurer import KernelFailed, KernelMeasurer
from harness.tvm_api import tvm

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


@pytest.fixture(scope="module")
def measurer() -> Iterator[KernelMeasurer]:
    with KernelMeasurer(TARGET, threads=2) as found:
        yield found


def summing(extent: int, body: str = "sum") -> tvm.IRModule:
    from tvm import te

    source = te.placeholder((extent, extent), name="source")
    if body == "crash":
        # Far outside the argument: a real segmentation fault in compiled code.
        result = te.compute((extent,), lambda at: source[at + 2**40, at], name="result")
    else:
        axis = te.reduce_axis((0, extent), name="axis")
        result = te.compute(
            (extent,), lambda at: te.sum(source[at, axis], axis=axis), name="result"
        )
    return tvm.IRModule({"main": te.create_prim_func([source, result])})


def test_larger_kernel_takes_longer(measurer: KernelMeasurer) -> None:
    small, large = (float(np.median(measurer.measure(summing(n), None))) for n in (8, 800))
    assert 0 < small < large


def test_hopeless_candidate_gets_one_run(measurer: KernelMeasurer) -> None:
    assert len(measurer.measure(summing(400), best=1e-9)) == 1
    assert len(measurer.measure(summing(400), best=None)) > 1


def test_crash_costs_one_candidate(measurer: KernelMeasurer) -> None:
    with pytest.raises(KernelFailed, match="SIGSEGV"):
        measurer.measure(summing(8, "crash"), None)
    assert measurer.measure(summing(8), None)


def test_contest_gives_each_candidate_every_round(measurer: KernelMeasurer) -> None:
    rounds = measurer.contest([summing(8), summing(300)], rounds=5)
    assert [len(seconds) for seconds in rounds] == [5, 5]
    assert np.median(rounds[0]) < np.median(rounds[1])
