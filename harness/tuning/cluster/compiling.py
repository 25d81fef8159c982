"""Compiles candidates of one kernel on the workers of a Dask cluster, side by side.

Dask runs a task that a worker died over on another, as often as its scheduler allows; then the
candidates fail.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.processes.child import Message
from harness.tuning.candidates.compiling import batches
from harness.tuning.candidates.process import Candidate, KernelFailed
from harness.tuning.cluster.connection import BuildCluster, TaskLost, versions
from harness.tuning.cluster.worker import Compiled, compiled_here

if TYPE_CHECKING:
    from distributed import Future

PATIENCE_SECONDS = 60.0


class ClusterCompiling:
    """Candidates on their way through the cluster, to be used as `Compiling` is: the compiler is
    in `found`, with its library in `folder`. `whole` is as in the kernel worker's `export`.

    `collect` raises CellFailure where there has been no worker for a minute, or the cluster has
    gone.
    """

    def __init__(
        self,
        cluster: BuildCluster,
        kernel: Message,
        candidates: Sequence[Candidate],
        folder: Path,
        *,
        whole: bool,
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self.failed: dict[int, KernelFailed] = {}
        self.found: dict[int, Any] = {}
        # Real inputs are in a file of this machine, and nothing is run there.
        kernel, order = {**kernel, "inputs": None}, {"do": "export", "whole": whole}
        self._tasks: dict[Future, list[int]] = {}
        for batch in batches(len(candidates), max(1, cluster.threads())):
            given = [candidates[at] for at in batch]
            task = cluster.submit(compiled_here, versions(), kernel, order, given)
            self._tasks[task] = batch
        self._heard = time.monotonic()

    @property
    def going(self) -> bool:
        return bool(self._tasks)

    def begin(self) -> None:
        """All work is with the cluster from the start."""

    def sources(self) -> list[BuildCluster]:
        """The file descriptors that `select` waits on until there is something to `collect`."""
        return [self._cluster]

    def collect(self, ready: Collection[object]) -> None:
        """Take the answers that are there."""
        if self._cluster in ready:
            self._cluster.hear()
        for task in [each for each in self._tasks if each.done()]:
            try:
                compiled = self._cluster.result(task)
            except TaskLost as error:
                self.failed |= {at: KernelFailed(str(error)) for at in self._tasks.pop(task)}
            else:
                if compiled is not None:
                    self._keep(compiled, self._tasks.pop(task))
            self._heard = time.monotonic()
        if self._tasks and time.monotonic() - self._heard > PATIENCE_SECONDS:
            if not self._cluster.threads():
                raise self._cluster.without_workers()
            self._heard = time.monotonic()

    def _keep(self, compiled: Compiled, batch: list[int]) -> None:
        """Write the libraries of a batch down; the worker counted its candidates from 0."""
        paths = {
            name: self._folder / f"{batch[0]}-{Path(name).name}" for name in compiled.libraries
        }
        for name, path in paths.items():
            path.write_bytes(compiled.libraries[name])
        for at, (library, name) in compiled.functions.items():
            self.found[batch[at]] = {"library": str(paths[library]), "name": name}
        self.failed |= {batch[at]: KernelFailed(why) for at, why in compiled.failed.items()}

    def stop(self) -> None:
        """Forget unfinished tasks: Dask drops tasks without references; a worker that is at one
        ends it for nobody."""
        self._tasks.clear()
