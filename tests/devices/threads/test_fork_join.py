"""Loops with counters for parts; then a kernel that TVM compiled, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices.threads import fork_join
from harness.devices.threads.fork_join import FUNCTION, THREADS, fork_join_library
from harness.errors import CellFailure

MOST_THREADS = 5


class Environment(ctypes.Structure):
    _fields_ = (("barrier", ctypes.c_void_p), ("parts", ctypes.c_int32))


LOOP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(Environment), ctypes.c_void_p)
Run = Callable[[Callable[[int, int], int], int], int]
"""Runs a loop, which is told its part and how many there are, in so many parts."""


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Pools of one thread and more: each is another copy of the library, with its own."""
    folder = tmp_path_factory.mktemp("pools")
    return [pool(folder, threads) for threads in range(1, MOST_THREADS + 1)]


def pool(folder: Path, threads: int) -> Run:
    copy = shutil.copy(fork_join_library(None), folder / f"{threads}.so")
    function = getattr(ctypes.CDLL(str(copy)), FUNCTION)

    def run(loop: Callable[[int, int], int], parts: int) -> int:
        called = LOOP(lambda part, environment, data: loop(part, environment.contents.parts))
        return int(function(called, None, parts))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVM_NUM_THREADS", str(threads))
        assert run(lambda part, parts: 0, 0) == 0
    return run


def counted(run: Run, parts: int) -> tuple[Counter[int], set[int]]:
    """How often each part ran, and how many parts they were told of."""
    ran: Counter[int] = Counter()
    told = set()

    def loop(part: int, of: int) -> int:
        ran[part] += 1
        told.add(of)
        return 0

    assert run(loop, parts) == 0
    return ran, told


@settings(deadline=None, max_examples=200)
@given(threads=st.integers(1, MOST_THREADS), parts=st.integers(0, 20))
def test_each_part_runs_once_whatever_the_number_of_threads(
    pools: list[Run], threads: int, parts: int
) -> None:
    expected = parts or threads
    assert counted(pools[threads - 1], parts) == ({part: 1 for part in range(expected)}, {expected})


def test_threads_that_sleep_are_no_hindrance(pools: list[Run]) -> None:
    for _ in range(20):
        time.sleep(0.01)
        assert counted(pools[3], 0)[0] == {part: 1 for part in range(4)}


def test_threads_share_the_parts(pools: list[Run]) -> None:
    together = threading.Barrier(3, timeout=60)  # no part is done before all have begun

    def loop(part: int, of: int) -> int:
        together.wait()
        return 0

    assert pools[2](loop, 0) == 0


def test_loop_within_a_loop_runs_where_it_is(pools: list[Run]) -> None:
    inner: list[tuple[int, int]] = []

    def loop(part: int, of: int) -> int:
        own = threading.get_ident()
        return pools[2](lambda part, of: inner.append((own, threading.get_ident())) or 0, 4)

    assert pools[2](loop, 3) == 0
    assert len(inner) == 12
    assert all(outside == inside for outside, inside in inner)


def test_callers_at_once_get_all_their_parts(pools: list[Run]) -> None:
    with ThreadPoolExecutor(4) as callers:
        found = list(callers.map(lambda at: counted(pools[2], at % 5 + 1)[0], range(400)))
    assert found == [{part: 1 for part in range(at % 5 + 1)} for at in range(400)]


@pytest.mark.parametrize("failing", range(3))
def test_part_that_fails_is_met_by_the_caller(pools: list[Run], failing: int) -> None:
    met = []

    def loop(part: int, of: int) -> int:
        if part != failing:
            return 0
        met.append(threading.get_ident())
        return 1

    assert pools[2](loop, 0) == -1
    assert threading.get_ident() in met
    assert counted(pools[2], 0)[0] == {part: 1 for part in range(3)}


KERNEL = """
import os, time
from pathlib import Path
from harness.devices.threads.fork_join import THREADS, use_fork_join
from harness.compiler.api import tvm
import numpy as np
from tvm.script import tirx as T
use_fork_join()

@T.prim_func
def doubled(a: T.Buffer((64,), "float32"), b: T.Buffer((64,), "float32")):
    for i in T.parallel(64):
        b[i] = a[i] * T.float32(2)

run = tvm.compile(tvm.IRModule({"doubled": doubled}), target="llvm").jit()["doubled"]
given, found = np.arange(64, dtype="float32"), tvm.runtime.tensor(np.zeros(64, "float32"))
for _ in range(100):
    run(tvm.runtime.tensor(given), found)
assert (found.numpy() == 2 * given).all()

def names():
    return [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]

# A thread names itself once it runs, and these loops may end before it does.
ours, end = int(os.environ["TVM_NUM_THREADS"]) - 1, time.monotonic() + 20
while names().count(THREADS) < ours and time.monotonic() < end:
    time.sleep(0.01)
print(names())
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_of_tvm_run_in_these_threads(tmp_path: Path, threads: int) -> None:
    script = tmp_path / "kernel.py"  # TVM reads the source of what it compiles
    script.write_text(KERNEL)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"TVM_NUM_THREADS": str(threads)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(THREADS) == threads - 1


def test_source_that_does_not_compile_is_a_clear_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path))
    monkeypatch.setattr(fork_join, "_OPTIONS", ["--no-such-option"])
    with pytest.raises(CellFailure, match=r"cannot be compiled.*no-such-option"):
        fork_join_library(None)
    assert list((tmp_path / "threads").iterdir()) == []
