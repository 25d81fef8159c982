"""Jobs for a server: a trial of one candidate, or a final comparison of several.

A job is a sequence of messages, each sent once the one before is answered. When the server is lost
the job is begun anew on another, without a candidate that two servers were lost over: it fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Generic, TypeVar

from harness.devices.servers.tracker import Address
from harness.processes.child import Message
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import KernelFailed

_MOST_LOST = 2
Result = TypeVar("Result")
Steps = Generator[Message, Message, None]
"""Yields a message, is sent its answer, or has KernelFailed thrown in where that is an error."""


class Job(ABC, Generic[Result]):
    """Work for one server at a time; `result` is set when it is done. `lost_on` has the servers
    that were lost over it. An answer may take `allowance` times as long as one of a trial."""

    allowance = 1.0

    def __init__(self) -> None:
        self.result: Result | KernelFailed | None = None
        self.lost_on: set[Address] = set()

    @abstractmethod
    def steps(self) -> Steps:
        """Begin, or begin anew."""

    @abstractmethod
    def lost(self, why: str) -> None:
        """The server was lost over the last message."""


class Trial(Job[list[float]]):
    """One candidate, timed: seconds per run. `best` gives the best known so far."""

    def __init__(
        self, kernel: Message, function: Message, best: Callable[[], float | None]
    ) -> None:
        super().__init__()
        self._kernel = kernel
        self._function = function
        self._best = best
        self._losses = 0

    def steps(self) -> Steps:
        try:
            yield self._kernel
            answer = yield {"do": "measure", **self._function, "best": self._best()}
            self.result = [float(value) for value in answer["seconds"]]
        except KernelFailed as error:
            self.result = error

    def lost(self, why: str) -> None:
        self._losses += 1
        if self._losses == _MOST_LOST:
            self.result = KernelFailed(why)


class Final(Job[Standing]):
    """Candidates of one kernel, verified one by one where that is asked for, then interleaved.

    `functions` are those that compiled, by position of `candidates`; `failed` says how the others
    did not.
    """

    allowance = 6.0

    def __init__(
        self,
        kernel: Message,
        candidates: int,
        functions: Mapping[int, Message],
        failed: Mapping[int, KernelFailed],
        rounds: int,
        *,
        verified: bool,
    ) -> None:
        super().__init__()
        self._kernel = kernel
        self._candidates = candidates
        self._functions = dict(functions)
        self._unverified = sorted(functions) if verified else []
        self._rounds = rounds
        self._wrong: dict[int, str] = {}
        self._failed = {slot: str(error) for slot, error in failed.items()}
        self._busy_with: int | None = None
        self._losses: Counter[int | None] = Counter()

    def steps(self) -> Steps:
        try:
            yield self._kernel
            while self._unverified:
                yield from self._verify(self._unverified[0])
            yield from self._measure()
        except KernelFailed as error:
            self.result = error

    def _verify(self, slot: int) -> Steps:
        self._busy_with = slot
        try:
            answer = yield {"do": "verify", **self._functions[slot]}
            if answer["wrong"] is not None:
                self._wrong[slot] = answer["wrong"]
                del self._functions[slot]
        except KernelFailed as error:
            self._give_up(slot, str(error))
        self._busy_with = None
        self._unverified = [each for each in self._unverified if each != slot]

    def _give_up(self, slot: int, why: str) -> None:
        self._failed[slot] = why
        del self._functions[slot]

    def _measure(self) -> Steps:
        times: list[list[float] | None] = [None] * self._candidates
        sound = sorted(self._functions)
        if sound:
            functions = [self._functions[slot] for slot in sound]
            answer = yield {"do": "final", "functions": functions, "rounds": self._rounds}
            for slot, seconds in zip(sound, answer["seconds"], strict=True):
                times[slot] = [float(value) for value in seconds]
        self.result = Standing(times, self._wrong, self._failed)

    def lost(self, why: str) -> None:
        slot, self._busy_with = self._busy_with, None
        self._losses[slot] += 1
        if self._losses[slot] < _MOST_LOST:
            return
        if slot is None:
            self.result = KernelFailed(why)
        else:
            self._unverified.remove(slot)
            self._give_up(slot, why)
