"""Work of a Dask cluster's workers: compiling candidates, in a child process as everywhere.

A process waits some time for the next candidates, because starting one takes seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from harness.errors import CellFailure
from harness.processes.child import Message
from harness.tuning.candidates.compiling import Compiling
from harness.tuning.candidates.process import Candidate, KernelProcess
from harness.tuning.cluster.connection import unfit

_IDLE_SECONDS = 60.0
"""Longer than the search thinks between two rounds."""


@dataclass(frozen=True)
class Compiled:
    """The results of candidates, by position: functions in libraries, and failures.

    A function is the name of its library and its own; `libraries` has the bytes of each.
    """

    functions: Mapping[int, tuple[str, str]]
    failed: Mapping[int, str]
    libraries: Mapping[str, bytes]


def compiled_here(
    expected: Mapping[str, str], kernel: Message, order: Message, candidates: Sequence[Candidate]
) -> Compiled:
    """Export candidates of a kernel, as one module, for a client with the expected versions;
    `order` lacks the folder alone. Raises CellFailure where this worker has others: it may have
    come after all were asked."""
    if why := unfit(expected, ()):
        raise CellFailure(f"it {why}")
    process, known = _Spare.taken()
    kernel = known if known == kernel else kernel  # a process knows its kernel by identity
    try:
        with TemporaryDirectory(prefix="layeredge-kernels-") as folder:
            compiling = Compiling(
                [process],
                kernel,
                {**order, "folder": folder},
                candidates,
                [list(range(len(candidates)))],
            )
            compiling.finish()
            found = {
                at: (Path(function["library"]).name, function["name"])
                for at, function in compiling.found.items()
            }
            return Compiled(
                functions=found,
                failed={at: str(error) for at, error in compiling.failed.items()},
                libraries={name: (Path(folder) / name).read_bytes() for name, _ in found.values()},
            )
    finally:
        _Spare(process, kernel)


class _Spare:
    """A process that waits for candidates of its kernel or of another, and ends when none come.
    A task or its timer takes it by removing it from those that wait."""

    _waiting: ClassVar[list[_Spare]] = []

    def __init__(self, process: KernelProcess, kernel: Message) -> None:
        self._process, self._kernel = process, kernel
        self._timer = threading.Timer(_IDLE_SECONDS, self._end)
        self._timer.daemon = True
        self._waiting.append(self)
        self._timer.start()

    @classmethod
    def taken(cls) -> tuple[KernelProcess, Message]:
        """One that waits, with the kernel that it knows, otherwise a new one."""
        try:
            spare = cls._waiting.pop()
        except IndexError:
            return KernelProcess({"TVM_NUM_THREADS": "1"}), {}
        spare._timer.cancel()
        return spare._process, spare._kernel

    def _end(self) -> None:
        try:
            self._waiting.remove(self)
        except ValueError:  # a task was faster
            return
        self._process.stop()
