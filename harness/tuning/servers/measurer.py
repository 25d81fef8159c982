"""Compiles candidates, here or on a Dask cluster, and measures them on all servers of a key, while
others are compiled.
"""

from __future__ import annotations

import select
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.compiler.api import triple_of, tvm
from harness.devices.servers.tracker import Servers
from harness.processes.child import Message
from harness.records.record import TuningCost
from harness.tuning.candidates.compiling import WATCH_SECONDS, Compiling
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import (
    CANDIDATE_SECONDS,
    Candidate,
    KernelFailed,
    KernelProcess,
    KernelTask,
)
from harness.tuning.cluster.compiling import ClusterCompiling
from harness.tuning.cluster.connection import BuildCluster
from harness.tuning.servers.jobs import Final, Trial
from harness.tuning.servers.servers import ServerPool

PATIENCE_SECONDS = 60.0
_REFERENCE_SECONDS = 120.0


class RemoteMeasurer:
    """A `Measurer` on the servers of a key. Use as a context manager.

    `workers` is how many processes compile here, where no `cluster` does; that is left at the end.
    Where there has been no server for `patience` seconds measuring raises CellFailure; a server
    that takes longer than `answer_seconds` counts as lost.
    Weights are where the run before left them: unlike here, there are no copies to use in turn.
    """

    cost: TuningCost = "seconds"

    def __init__(
        self,
        target: tvm.target.Target,
        key: str,
        servers: Servers,
        workers: int,
        patience: float = PATIENCE_SECONDS,
        answer_seconds: float = CANDIDATE_SECONDS,
        cluster: BuildCluster | None = None,
    ) -> None:
        self._target = target
        self._cluster = cluster
        self._pool = ServerPool(servers, key, triple_of(target), patience, answer_seconds)
        self._workers = [KernelProcess({"TVM_NUM_THREADS": "1"}) for _ in range(workers)]
        self._kernel: Message = {}
        self._outputs = 1
        self._folder = TemporaryDirectory(prefix="layeredge-kernels-")
        self._rounds = 0

    def __enter__(self) -> RemoteMeasurer:
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.stop()
        if self._cluster is not None:
            self._cluster.stop()
        for worker in self._workers:
            worker.stop()
        self._folder.cleanup()

    def turn_to(self, kernel: KernelTask) -> None:
        """Turn to the candidates of this kernel."""
        self._kernel = kernel.as_message(self._target, here=False)
        self._outputs = kernel.outputs

    def measure(
        self, candidates: Sequence[Candidate], best: Callable[[], float | None]
    ) -> Iterator[list[float] | KernelFailed]:
        """As `KernelMeasurer.measure`, but the first is measured as soon as it is compiled. Raises
        CellFailure where there is no server any more."""
        with self._round() as folder:
            try:
                kernel = self._given("arguments", folder)
            except KernelFailed as error:
                yield from [error] * len(candidates)
                return
            trials: dict[int, Trial] = {}
            compiling = self._compiling(candidates, folder, whole=False)
            try:
                for slot in range(len(candidates)):
                    while (found := _result(slot, compiling, trials)) is None:
                        self._advance(compiling)
                        for at in compiling.found.keys() - trials.keys():
                            trials[at] = Trial(kernel, compiling.found[at], best)
                            self._pool.add(trials[at])
                    yield found
            finally:
                compiling.stop()

    def finals(
        self,
        entries: Iterable[tuple[KernelTask, Sequence[Candidate]]],
        rounds: int,
        *,
        verified: bool = True,
    ) -> Iterator[Standing | KernelFailed]:
        """As `KernelMeasurer.finals`: each final on one server, several side by side, while the
        candidates of the next are compiled."""
        with self._round() as folder:
            waiting: deque[Final | KernelFailed] = deque()
            for at, (kernel, candidates) in enumerate(entries):
                self.turn_to(kernel)
                below = folder / str(at)
                below.mkdir()
                waiting.append(self._final(candidates, below, rounds, verified=verified))
                while waiting and (outcome := _outcome(waiting[0])) is not None:
                    waiting.popleft()
                    yield outcome
            for final in waiting:
                while (outcome := _outcome(final)) is None:
                    self._advance()
                yield outcome

    def _final(
        self, candidates: Sequence[Candidate], folder: Path, rounds: int, *, verified: bool
    ) -> Final | KernelFailed:
        """A final comparison for the pool, its candidates compiled, while the pool works on
        others."""
        try:
            kernel = self._given("references" if verified else "arguments", folder)
        except KernelFailed as error:
            return error
        compiling = self._compiling(candidates, folder, whole=verified)
        try:
            while compiling.going:
                self._advance(compiling)
        finally:
            compiling.stop()
        functions, failed = compiling.found, compiling.failed
        final = Final(kernel, len(candidates), functions, failed, rounds, verified=verified)
        self._pool.add(final)
        return final

    @contextmanager
    def _round(self) -> Iterator[Path]:
        """A folder for the libraries of one round, and the servers meanwhile."""
        folder = Path(self._folder.name) / str(self._rounds)
        self._rounds += 1
        folder.mkdir()
        self._pool.open()
        try:
            yield folder
        finally:
            self._pool.close()
            shutil.rmtree(folder, ignore_errors=True)

    def _given(self, request: str, folder: Path) -> Message:
        """The message that describes the kernel to a server, once a worker has written the
        arguments it is called with. Raises KernelFailed."""
        path = str(folder / "arguments.npz")
        self._workers[0].ask(self._kernel, {"do": request, "path": path}, _REFERENCE_SECONDS)
        return {"do": "kernel", "arguments": path, "outputs": self._outputs}

    def _compiling(
        self, candidates: Sequence[Candidate], folder: Path, *, whole: bool
    ) -> Compiling | ClusterCompiling:
        if self._cluster is not None:
            return ClusterCompiling(self._cluster, self._kernel, candidates, folder, whole=whole)
        order = {"do": "export", "folder": str(folder), "whole": whole}
        compiling = Compiling(self._workers, self._kernel, order, candidates)
        compiling.begin()  # a worker may take long to start: before a server waits for it
        return compiling

    def _advance(self, compiling: Compiling | ClusterCompiling | None = None) -> None:
        """Give all servers work, and take the first results. Raises CellFailure."""
        if compiling is not None:
            compiling.begin()
        self._pool.begin()
        sources = [*(compiling.sources() if compiling else ()), *self._pool.sources()]
        ready, _, _ = select.select(sources, [], [], WATCH_SECONDS)
        if compiling is not None:
            compiling.collect(ready)
        self._pool.collect(ready)


def _result(
    slot: int, compiling: Compiling | ClusterCompiling, trials: dict[int, Trial]
) -> list[float] | KernelFailed | None:
    if slot in compiling.failed:
        return compiling.failed[slot]
    return trials[slot].result if slot in trials else None


def _outcome(final: Final | KernelFailed) -> Standing | KernelFailed | None:
    return final if isinstance(final, KernelFailed) else final.result
