"""All servers of a key: each does one job at a time, and jobs of lost servers are done elsewhere.

Servers are held for one round of work, and then free for others. They may come and go meanwhile: a
request for one more is always with the tracker, which grants it when a server appears.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection
from typing import Any

from harness.devices.linker import processor_of
from harness.devices.servers.tracker import Address, Grant, Servers, Tracker, TrackerLost
from harness.errors import CellFailure
from harness.processes.child import Child, ChildLost, Message
from harness.tuning.candidates.process import CANDIDATE_SECONDS, KernelFailed
from harness.tuning.servers.jobs import Job, Steps

_WORKER = "harness.tuning.servers.worker"
_OPEN_SECONDS = 15.0
_CLOSE_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_MOMENT_SECONDS = 0.5
_MOST_WAITS = 3
"""A server that was waited for in vain so often in a row is not asked again. One that crashes is:
it costs no time."""


class _Server:
    """One server, and the process that holds the session with it."""

    def __init__(self, address: Address, child: Child) -> None:
        self.address = address
        self.child = child
        self.open = False
        self.job: Job[Any] | None = None
        self._steps: Steps | None = None
        self._deadline = self._seconds = 0.0

    @property
    def waits(self) -> bool:
        """Whether an answer is due."""
        return self.job is not None or not self.open

    def send(self, message: Message, seconds: float) -> None:
        """Raises ChildLost."""
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self.child.send(message)

    def check_time(self) -> None:
        """Raise ChildLost where an answer is overdue."""
        if self.waits and time.monotonic() > self._deadline:
            raise ChildLost(f"took more than {self._seconds:.3g} s")

    def begin(self, job: Job[Any], seconds: float) -> None:
        """Send a job's first message; `seconds` is how long a trial's answer may take."""
        self.job, self._steps = job, job.steps()
        self.send(next(self._steps), seconds * job.allowance)

    def go_on(self, answer: Message, seconds: float) -> None:
        """Send the message after an answer; the job ends if there is none."""
        assert self._steps is not None and self.job is not None
        try:
            if "error" in answer:
                message = self._steps.throw(KernelFailed(str(answer["error"])))
            else:
                message = self._steps.send(answer)
        except StopIteration:
            self.job = None
        else:
            self.send(message, seconds * self.job.allowance)


class ServerPool:
    """The servers of a key. `begin` and `collect`, again and again between `open` and `close`.

    `triple` is that of the code. A trial's answer may take `answer_seconds`; where
    there has been no server for `patience` seconds, `begin` raises CellFailure.
    """

    def __init__(
        self,
        servers: Servers,
        key: str,
        triple: str | None,
        patience: float,
        answer_seconds: float = CANDIDATE_SECONDS,
    ) -> None:
        self._where = servers
        self._key = key
        self._processor = processor_of(triple)
        self._patience = patience
        self._answer_seconds = answer_seconds
        self._servers: list[_Server] = []
        self._spare: list[Child] = []
        self._jobs: deque[Job[Any]] = deque()
        self._tracker: Tracker | None = None
        self._requested = False
        self._asked = 0.0
        self._looked_at = self._alone_seconds = 0.0
        self._waits: Counter[Address] = Counter()
        self._lost_because = ""

    def open(self) -> None:
        self._looked_at = time.monotonic()
        self._alone_seconds = 0.0
        self._lost_because = ""

    def close(self) -> None:
        """Forget all jobs, and let the servers go; their processes stay for the next time."""
        self._jobs.clear()
        self._leave_tracker()
        for server in self._servers:
            try:
                if server.waits:
                    raise ChildLost("is busy with a request whose result is no longer needed")
                server.child.call({"do": "close"}, _CLOSE_SECONDS)
            except ChildLost:
                server.child.kill()
            else:
                self._spare.append(server.child)
        self._servers = []

    def stop(self) -> None:
        """End all processes."""
        self.close()
        for child in self._spare:
            child.kill()
        self._spare = []

    def add(self, job: Job[Any]) -> None:
        self._jobs.append(job)

    def sources(self) -> list[Any]:
        """The file descriptors that `select` waits on until there is something to `collect`."""
        waiting = [server.child for server in self._servers if server.waits]
        return [*waiting, *([self._tracker] if self._tracker else [])]

    def begin(self) -> None:
        """Give a job to each server that has none, and see that there are servers where there are
        jobs: a server that was granted and is not called for some seconds is not ours any more."""
        if self._jobs:
            self._ask_tracker()
            self._note_absence()
        for server in list(self._servers):
            if server.open and server.job is None and (job := self._next(server)) is not None:
                try:
                    server.begin(job, self._answer_seconds)
                except ChildLost as error:
                    self._lose(server, str(error))
                    server.child.kill()

    def _note_absence(self) -> None:
        """Raise CellFailure if there has been no server for too long; the work of the caller for
        longer than a moment meanwhile was something else than waiting for one."""
        now = time.monotonic()
        waited, self._looked_at = min(now - self._looked_at, _MOMENT_SECONDS), now
        self._alone_seconds = 0.0 if self._servers else self._alone_seconds + waited
        if self._alone_seconds > self._patience:
            raise CellFailure(self._nobody())

    def _next(self, server: _Server) -> Job[Any] | None:
        """A job for a server: not one over which it was lost before, if there is another server."""
        addresses = {each.address for each in self._servers}
        for job in self._jobs:
            if server.address not in job.lost_on or addresses <= job.lost_on:
                self._jobs.remove(job)
                return job
        return None

    def collect(self, ready: Collection[Any]) -> None:
        """Take the answers that are there, and give up the servers that are lost or too slow."""
        if self._tracker in ready:
            self._take_grant()
        for server in list(self._servers):
            try:
                if server.child in ready:
                    self._answered(server, server.child.receive(self._answer_seconds))
                else:
                    server.check_time()
            except ChildLost as error:
                self._waits[server.address] += server.open
                self._lose(server, str(error))
                server.child.kill()

    def _answered(self, server: _Server, answer: Message) -> None:
        if "lost" in answer:
            self._lose(server, f"ended the session ({answer['lost']})")
            self._spare.append(server.child)
            return
        if server.open:
            job = server.job
            server.go_on(answer, self._answer_seconds)
            if job is not None and server.job is None:
                self._waits[server.address] = 0
            return
        machine = answer.get("description", {}).get("machine")
        if machine is not None and processor_of(machine) != self._processor:
            raise CellFailure(
                f"the server of '{self._key}' at {server.address} is a machine of the kind "
                f"{machine}, and the code is for {self._processor}; serve the key on such a one, "
                "or correct tvm.mtriple in the target's description"
            )
        server.open = True

    def _lose(self, server: _Server, why: str) -> None:
        """A server is gone, or hangs: its job is for another."""
        why = f"the server at {server.address} {why}"
        self._lost_because = why
        self._servers.remove(server)
        if (job := server.job) is not None:
            job.lost_on.add(server.address)
            job.lost(why)
            if job.result is None:
                self._jobs.appendleft(job)

    def _ask_tracker(self) -> None:
        """Have a request with the tracker, unless there are as many servers as may be used: what is
        granted and not called for is nobody's for some seconds."""
        most, now = self._where.most, time.monotonic()
        if self._requested or (most is not None and len(self._servers) >= most):
            return
        try:
            if self._tracker is None and now - self._asked > _RETRY_SECONDS:
                self._asked = now
                self._tracker = Tracker(self._where.tracker)
            if self._tracker is not None:
                self._tracker.request(self._key)
                self._requested = True
        except TrackerLost as error:
            self._lost_because = str(error)
            self._leave_tracker()

    def _leave_tracker(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
        self._tracker, self._requested = None, False

    def _take_grant(self) -> None:
        assert self._tracker is not None
        try:
            grant = self._tracker.granted()
            self._requested = False
        except TrackerLost as error:
            self._lost_because = str(error)
            self._leave_tracker()
            return
        if self._waits[grant.address] < _MOST_WAITS:
            self._connect(grant)

    def _connect(self, grant: Grant) -> None:
        child = self._spare.pop() if self._spare else Child(_WORKER)
        server = _Server(grant.address, child)
        self._servers.append(server)
        address = grant.address
        message = {"do": "open", "host": address.host, "port": address.port, "word": grant.word}
        try:
            server.send(message, _OPEN_SECONDS)
        except ChildLost as error:
            self._lose(server, str(error))
            child.kill()

    def _nobody(self) -> str:
        """An error: there is no server, with the reason and advice."""
        where = self._where.tracker
        why = f" (the last that was heard: {self._lost_because})" if self._lost_because else ""
        return (
            f"no server of '{self._key}' for {self._patience:.3g} s{why}; start one: layeredge "
            f"devices serve {self._key} --tracker {where}"
        )
