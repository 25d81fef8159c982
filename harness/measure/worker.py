"""One model in one engine in a process of its own: verifies, times and scores it.

Run by `harness.measure.group`. Nothing but the engine is loaded before the peak memory is read.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from harness.devices.emulated.board import COUNTS
from harness.errors import CellFailure, first_line
from harness.files.arrays import read_arrays, write_arrays
from harness.machine.awake import KeepAwake
from harness.measure.counting import InstructionCounter
from harness.processes.child import Channel, Message, channel
from harness.records.artifact import LIBRARY, StateTensor
from harness.records.record import OWN_ENGINE

if TYPE_CHECKING:
    import numpy as np

    from harness.baselines.base import Feeds, Session

_WARM_UP_RUNS = 3
"""Before a sample, at least: after one run a large network is still half as slow again as later."""
_MOVE_SECONDS = 0.1
"""The longest opening of a model that is repeated for each sample; a model that takes longer is too
large for the caches, and where it lies matters less."""
_PROGRESS_SECONDS = 0.5


class Worker:
    """Answers one message after another about the one session it holds."""

    def __init__(self, parent: Channel, awake: AbstractContextManager[None]) -> None:
        self._parent = parent
        self._awake = awake
        self._open: Callable[[], Session]
        self._session: Session
        self._feeds: Feeds
        self._run: Callable[[], object]
        self._counter: InstructionCounter
        self._moves = True
        self._first_seconds: float | None = None
        self._singles: list[float] = []

    def load(self, message: Message) -> Message:
        """Open the model; from here on the process holds it."""
        engine, path, threads = message["engine"], Path(message["path"]), message["threads"]
        if engine == OWN_ENGINE:
            from harness.measure.native_session import open_network

            self._open = lambda: open_network(path)
        else:
            from harness.baselines.registry import ENGINES, open_session

            __import__(ENGINES[engine].module)
            self._open = lambda: open_session(engine, path, threads)
        base_mb = status_mb("VmRSS")
        started = time.perf_counter()
        self._session = self._open()
        loaded = time.perf_counter() - started
        if counts := os.environ.get(COUNTS):
            self._counter = InstructionCounter(path / LIBRARY, Path(counts))
        return {"base_rss_mb": base_mb, "load_seconds": loaded}

    def outputs(self, message: Message) -> Message:
        """Run once on each input, write the outputs, and return the time of the first inference of
        this process."""
        rows = [self._first(feeds) for feeds in read_arrays(Path(message["inputs"]))]
        write_arrays(
            Path(message["outputs"]),
            [[(f"output_{at}", array) for at, array in enumerate(row)] for row in rows],
        )
        return {"first_seconds": self._first_seconds}

    def _first(self, feeds: Feeds) -> list[np.ndarray]:
        """The outputs for an input; the first time, how long they took."""
        started = time.perf_counter()
        found = self._session.run(feeds)
        if self._first_seconds is None:
            self._first_seconds = time.perf_counter() - started
        return found

    def prepare(self, message: Message) -> Message:
        """Bind the first input, warm up for some seconds, and return the time of one run and the
        most memory was needed at most so far."""
        self._feeds = read_arrays(Path(message["inputs"]))[0]
        with self._awake:
            self._run = self._session.bind(self._feeds)
            deadline = time.perf_counter() + message["warm_up_seconds"]
            fastest = float("inf")
            while True:
                fastest = min(fastest, *self._timed(1))
                if time.perf_counter() >= deadline:
                    return {"seconds": fastest, "peak_rss_mb": status_mb("VmHWM")}

    def sample(self, message: Message) -> Message:
        """One latency sample: the median of back-to-back runs, after runs that do not count.

        Not their mean: a host that takes the core away for a moment would be part of it. And each
        of the model opened anew: where its weights and intermediate results come to lie in memory
        makes it some percent faster or slower for as long as they lie there.
        """
        with self._awake:
            self._settle(message["warm_up_seconds"])
        times = self._timed(message["runs"])
        self._singles += times
        return {"seconds": median(times)}

    def stream(self, message: Message) -> Message:
        """Inferences from a moment on until another, with copies of this process beside this one:
        how many, how long they took together, and the median of one; or that this process was not
        ready by then. Moments are of `time.perf_counter`, which is one clock for all processes."""
        clock, end = time.perf_counter, message["end"]
        with self._awake:
            self._settle(0.0)
            late = clock() > message["begin"]
            while clock() < message["begin"]:
                self._run()
        if late or clock() >= end:
            return {"late": True}
        run = self._run
        gc.disable()
        try:
            times = [clock()]
            while times[-1] < end:
                run()
                times.append(clock())
        finally:
            gc.enable()
        seconds = [after - before for before, after in pairwise(times)]
        self._singles += seconds
        return {
            "late": False,
            "count": len(seconds),
            "elapsed": times[-1] - times[0],
            "seconds": median(seconds),
        }

    def inferences(self, message: Message) -> Message:
        """Write the seconds of the single inferences that samples timed since the last time to a
        file."""
        import numpy as np

        with Path(message["path"]).open("wb") as file:
            np.save(file, np.array(self._singles))
        self._singles = []
        return {}

    def _settle(self, seconds: float) -> None:
        """Open the model anew where it is not too large, and run it for some time."""
        if self._moves:
            self._move()
        deadline = time.perf_counter() + seconds
        warm = 0
        while warm < _WARM_UP_RUNS or time.perf_counter() < deadline:
            self._run()
            warm += 1

    def _move(self) -> None:
        """Open the model anew, elsewhere in memory; where that takes long, for the last time."""
        started = time.perf_counter()
        del self._run, self._session
        self._session = self._open()
        self._run = self._session.bind(self._feeds)
        self._moves = time.perf_counter() < started + _MOVE_SECONDS

    def _timed(self, runs: int) -> list[float]:
        """Seconds of each of some runs."""
        run, clock = self._run, time.perf_counter
        gc.disable()
        try:
            times = [clock()]
            for _ in range(runs):
                run()
                times.append(clock())
        finally:
            gc.enable()
        return [after - before for before, after in pairwise(times)]

    def count(self, message: Message) -> Message:
        """The instructions of one run, on a board that counts them."""
        run = self._session.bind(read_arrays(Path(message["inputs"]))[0])
        run()  # looks functions up
        first, second = self._counter.count(run), self._counter.count(run)
        if first != second:
            raise CellFailure(
                f"two runs execute different numbers of instructions: {first.total} and "
                f"{second.total}"
            )
        return {"instructions": second.model_dump()}

    def kernels(self, message: Message) -> Message:
        """Seconds per call of each kernel of a compiled model, and outside of them."""
        feeds = read_arrays(Path(message["inputs"]))[0]
        with self._awake:
            times = self._session.kernel_times(feeds, message["runs"])  # type: ignore[attr-defined]
        return {"kernels": times.kernels, "outside": times.outside}

    def accuracy(self, message: Message) -> Message:
        """Score the model on its labelled data."""
        from harness.models.catalog.entries import resolve
        from harness.models.resolved import require_unchanged
        from harness.models.tensors import tensor_specs
        from harness.specs.sweep import ModelSpec

        spec = ModelSpec.model_validate(message["model"])
        model = require_unchanged(resolve(spec), message["fingerprint"])
        task = model.fitted(
            tensor_specs(message["inputs"]),
            tensor_specs(message["outputs"]),
            tuple(map(StateTensor.model_validate, message["state"])),
        ).task
        assert task is not None
        told = [time.monotonic()]

        def progress(done: int, total: int) -> None:
            if time.monotonic() - told[0] >= _PROGRESS_SECONDS:
                told[0] = time.monotonic()
                self._parent.send({"done": done, "total": total})

        found = task.evaluate(self._session.run, progress, message["limit"], message["skip"])
        if spec.data is not None:  # some are read one by one, as a folder's images
            require_unchanged(resolve(spec), message["fingerprint"])
        return {"accuracy": found.model_dump()}


def status_mb(field: str) -> float:
    """A memory figure of this process from /proc/self/status, in MB of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(field)


def attempt(worker: Worker, message: Message) -> Message:
    """A worker's answer to a message, or its error."""
    try:
        return {"answer": getattr(worker, message.pop("do"))(message)}
    except Exception as error:
        # Whatever an engine raises fails this cell with its first line as the reason.
        return {"error": first_line(error), "kind": type(error).__name__}


def main() -> None:
    parent, awake = channel(), KeepAwake()
    worker = Worker(parent, awake)
    for message in parent:
        awake.rest()
        parent.send(attempt(worker, message))


if __name__ == "__main__":
    main()
