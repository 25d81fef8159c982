"""Candidates are compiled by the workers of a Dask cluster; one that dies costs none of them."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rpc_servers import Devices, until
from small_kernels import module, split, task
from sweeps import write_sweep

import harness
from harness.compiler.api import tvm
from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure, InputError
from harness.executors.table import executor_of
from harness.hardware import as_yaml, detect_host
from harness.specs.target import Device, TargetSpec
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed
from harness.tuning.cluster.compiling import ClusterCompiling
from harness.tuning.cluster.connection import BuildCluster, require_cluster, unfit, versions

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})
BROKEN = Candidate(trace=[[["NoSuchInstruction", [], [], []]], []])
NOBODY = "tcp://127.0.0.1:1"


def local_cluster(workers: int) -> Any:
    """A cluster of processes on this machine, which are replaced when they die."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    with local_cluster(2) as found:
        yield found


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with Devices() as found:
        found.serve("board")
        yield found


def finish(compiling: ClusterCompiling) -> None:
    while compiling.going:
        ready, _, _ = select.select(compiling.sources(), [], [], 0.25)
        compiling.collect(ready)


@pytest.mark.slow
def test_what_the_cluster_compiles_is_measured_on_a_server(
    workers: Any, devices: Devices, tmp_path: Path
) -> None:
    servers = Servers(tracker=devices.address, build_cluster=workers.scheduler_address)
    before = workers.scheduler.transition_counter
    with executor_of(board(), servers).measurer(1, 0.0, tmp_path) as measurer:
        measurer.turn_to(task(64))
        candidates = [split(64, 2), BROKEN, *[split(64, 4)] * 6]
        found = list(measurer.measure(candidates, lambda: None))
        entries = [(task(16), [module(16), module(16, "wrong"), split(16, 2)])]
        (standing,) = measurer.finals(entries, 3)
    assert [isinstance(each, KernelFailed) for each in found] == [False, True] + [False] * 6
    assert isinstance(standing, Standing)
    assert [len(times or ()) for times in standing.times] == [3, 0, 3]
    assert list(standing.wrong) == [1]
    assert workers.scheduler.transition_counter > before, "nothing was compiled by the cluster"


@pytest.mark.slow
def test_killed_worker_costs_no_candidate(workers: Any, tmp_path: Path) -> None:
    address = workers.scheduler_address
    candidates = [split(64, 2 + at % 3) for at in range(24)]
    kernel = task(64).as_message(TARGET, here=False)
    with BuildCluster(address, [None]) as cluster, distributed.Client(address) as client:
        compiling = ClusterCompiling(cluster, kernel, candidates, tmp_path, whole=False)
        busy, processes = client.processing, client.run(os.getpid)
        until(lambda: any(busy().values()))
        killed = next(worker for worker, tasks in busy().items() if tasks)
        os.kill(processes[killed], signal.SIGKILL)
        finish(compiling)
    assert not compiling.failed and sorted(compiling.found) == list(range(24))
    assert all(Path(each["library"]).stat().st_size for each in compiling.found.values())


@pytest.mark.slow
def test_candidates_over_which_workers_die_again_and_again_fail(tmp_path: Path) -> None:
    import dask

    kernel = task(64).as_message(TARGET, here=False)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(1) as workers,
        BuildCluster(workers.scheduler_address, [None]) as cluster,
        distributed.Client(workers) as client,
    ):
        (process,) = client.run(os.getpid).values()
        compiling = ClusterCompiling(cluster, kernel, [split(64, 2)], tmp_path, whole=False)
        until(lambda: any(client.processing().values()))
        os.kill(process, signal.SIGKILL)
        finish(compiling)
    assert not compiling.found and str(compiling.failed[0]) == (
        "workers of the Dask cluster died over it, 1 in a row"
    )


@pytest.mark.slow
def test_lost_cluster_ends_compiling(tmp_path: Path) -> None:
    kernel = task(64).as_message(TARGET, here=False)
    workers = local_cluster(1)
    with workers, BuildCluster(workers.scheduler_address, [None]) as cluster:
        compiling = ClusterCompiling(cluster, kernel, [split(64, 2)] * 4, tmp_path, whole=False)
        workers.close()
        with pytest.raises(CellFailure, match=r"the connection with the Dask cluster .* is lost"):
            finish(compiling)
        with pytest.raises(CellFailure, match=r"the connection with the Dask cluster .* is lost"):
            ClusterCompiling(cluster, kernel, [split(64, 2)], tmp_path, whole=False)


@contextmanager
def other_version(folder: Path, address: str) -> Iterator[None]:
    """A worker that has another version of this package."""
    shutil.copytree(Path(harness.__file__).parent, folder / "harness")
    code = (folder / "harness" / "__init__.py").read_text()
    (folder / "harness" / "__init__.py").write_text(code.replace(harness.__version__, "0.0.1"))
    program = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [*program, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            with distributed.Client(address) as client:
                client.wait_for_workers(1, 60)
            yield
        finally:
            process.kill()


@pytest.mark.slow
def test_missing_and_unfit_workers_are_one_line_each(tmp_path: Path) -> None:
    with local_cluster(0) as workers:
        address = workers.scheduler_address
        with pytest.raises(InputError) as missing:
            require_cluster(address, [None])
        with other_version(tmp_path, address), pytest.raises(InputError) as unfit:
            require_cluster(address, [None])
    assert str(missing.value) == (
        f"the Dask cluster at {address} has no workers; start one where there are processors to "
        f"spare: dask worker {address}"
    )
    assert "of the Dask cluster has layeredge 0.0.1, and this machine has" in str(unfit.value)


def test_something_else_that_listens_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connect = threading.Thread(target=greet, args=[listening])
        connect.start()
        with pytest.raises(CellFailure, match=r"no Dask cluster answers .*something else listens"):
            BuildCluster(f"tcp://127.0.0.1:{listening.getsockname()[1]}", [None])
        connect.join()


def greet(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.sendall(b"SSH-2.0-OpenSSH")


def test_worker_without_a_linker_for_the_target_is_unfit() -> None:
    assert unfit(versions(), [None]) is None
    assert "no compiler to link code for sparc-linux-gnu" in str(
        unfit(versions(), ["sparc-linux-gnu"])
    )


@pytest.mark.parametrize("text", ["127.0.0.1:8786", "tcp://127.0.0.1", "http://127.0.0.1:8786"])
def test_what_is_no_address_of_a_scheduler_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected tcp://HOST:PORT"):
        BuildCluster(text, [None])


def board() -> TargetSpec:
    """This machine as a board that is reached by a key."""
    device = Device(kind="rpc", key="board")
    return detect_host().model_copy(update={"name": "board", "device": device})


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep over such a board and this machine, with some options."""
    (folder / "board.yaml").write_text(as_yaml(board()))
    sweep = write_sweep(folder, targets=[str(folder / "board.yaml"), "x86-host"])
    program = [sys.executable, "-m", "harness.cli.main", "run", str(sweep)]
    return subprocess.run(
        [*program, "--out", str(folder / "out"), *options], capture_output=True, text=True
    )


@pytest.mark.slow
def test_wrong_address_is_one_line_before_anything_is_compiled(tmp_path: Path) -> None:
    found = run(tmp_path, "--build-cluster", NOBODY, "--tracker", "127.0.0.1:1")
    assert found.returncode == 2 and found.stderr.count("\n") == 1
    assert found.stderr.startswith(f"layeredge: no Dask cluster answers at {NOBODY} (")
    assert "candidates for x86-host are compiled on this machine" in found.stdout
    assert not (tmp_path / "out" / "artifacts").exists()


def test_cluster_without_servers_is_refused(tmp_path: Path) -> None:
    found = run(tmp_path, "--build-cluster", NOBODY)
    assert found.returncode == 2 and found.stderr.count("\n") == 1
    assert "no tracker of servers is named; name it with --tracker" in found.stderr
