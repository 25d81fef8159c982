"""Copies of one network that run side by side, each in a process of its own.

All run through the same span of time, so that each has the others beside it all the while. Their
cores are their own where the machine has as many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice, repeat
from statistics import median
from time import perf_counter

from harness.errors import CellFailure
from harness.measure.member import TOLD_AGAIN, Member, ProcessRunner, Runner
from harness.processes.child import Message
from harness.specs.sweep import Limits

_LEAST_LEAD, _MOST_LEAD = 0.15, 20.0
"""How long copies get to be ready, in seconds, besides some inferences."""
_LEAD_INFERENCES, _LEAST_INFERENCES = 5, 3
_LEAST_SECONDS = 0.02
"""Of a sample: copies do not begin to the microsecond."""


class Streams(Runner):
    """`count` copies of one member, each of which has `threads` threads. The memory is that of one
    copy."""

    def __init__(
        self,
        member: Member,
        count: int,
        threads: int,
        limits: Limits,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(member, threads)
        cpus = cycle(sorted(os.sched_getaffinity(0)))
        self._copies = [
            ProcessRunner(
                member, threads, limits, environment, cpus=sorted(set(islice(cpus, threads)))
            )
            for _ in range(count)
        ]
        self._pool = ThreadPoolExecutor(count)
        self._lead = _LEAST_LEAD

    def ask(self, message: Message, heard: Callable[[float, float], None] | None = None) -> Message:
        asked = self._copies if message["do"] in TOLD_AGAIN else self._copies[:1]
        answers = [copy.ask(dict(message), heard) for copy in asked]
        return answers[0]

    def sample(self, runs: int) -> float:
        """The median latency while all run, where each lasts about `runs` inferences. The measured
        intervals get that between two inferences of all copies.

        Raises CellFailure where the copies are not ready together.
        """
        lasting = max(runs, _LEAST_INFERENCES) * self.seconds_per_run * len(self._copies)
        lasting = max(lasting, _LEAST_SECONDS)
        while self._lead <= _MOST_LEAD:
            begin = perf_counter() + self._lead + _LEAD_INFERENCES * self.seconds_per_run
            message = {"do": "stream", "begin": begin, "end": begin + lasting}
            answers = [*self._pool.map(ProcessRunner.ask, self._copies, repeat(message))]
            if not any(answer["late"] for answer in answers):
                rate = sum(answer["count"] / answer["elapsed"] for answer in answers)
                self.measured.intervals.append(1 / rate)
                return median(float(answer["seconds"]) for answer in answers)
            self._lead *= 2
        raise CellFailure(f"{len(self._copies)} copies did not get ready in {_MOST_LEAD:g} s")

    def renew(self) -> None:
        for copy in self._copies:
            copy.renew()

    def close(self) -> None:
        for copy in self._copies:
            copy.close()
        self._pool.shutdown()
