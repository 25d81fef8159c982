"""Verifies and measures the artifacts of one model on one server of a key, interleaved there.

The reference runs on this machine. Networks that take the server down are thrown out; the others
are loaded again, on whatever server of the key is free.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.devices.servers.tracker import Grant, Servers, Tracker, TrackerLost
from harness.errors import CellFailure
from harness.measure.group import Group, GroupSettings
from harness.measure.member import TOLD_AGAIN, Measured, Member, Runner, answer_of
from harness.processes.child import Child, ChildLost, Message
from harness.processes.limits import answer_seconds, lost_reason
from harness.specs.sweep import Limits
from harness.specs.target import TargetSpec

_WORKER = "harness.measure.remote_worker"
_GRANT_SECONDS = 60.0
_OPEN_SECONDS = 30.0
_MOST_LOST = 2


class Station:
    """A session on a server of a key, and the process that holds it. `session` counts those that
    there were, and `machine` is the server's description of itself."""

    def __init__(self, servers: Servers, key: str, limits: Limits) -> None:
        self._servers = servers
        self._key = key
        self._limits = limits
        self._child: Child | None = None
        self.session = 0
        self.machine: dict[str, Any] = {}

    def open(self) -> None:
        """Have a session. Raises CellFailure, or ChildLost where the server does not take it."""
        if self._child is not None:
            return
        grant = self._granted()
        self._child = Child(_WORKER, memory_mb=self._limits.memory_mb)
        self.session += 1
        address = grant.address
        message = {"host": address.host, "port": address.port, "word": grant.word}
        self.machine = {
            "address": str(address),
            "key": self._key,
            **answer_of(self._child, message, _OPEN_SECONDS, None),
        }

    def _granted(self) -> Grant:
        try:
            with Tracker(self._servers.tracker) as tracker:
                tracker.request(self._key)
                if select.select([tracker], [], [], _GRANT_SECONDS)[0]:
                    return tracker.granted()
        except TrackerLost as error:
            raise CellFailure(str(error)) from None
        raise CellFailure(
            f"no server of '{self._key}' was free for {_GRANT_SECONDS:.0f} s; start one: layeredge "
            f"devices serve {self._key} --tracker {self._servers.tracker}"
        )

    def ask(self, message: Message, heard: Callable[[float, float], None] | None) -> Message:
        """Raises ChildLost if the session is lost, and the worker's error otherwise."""
        assert self._child is not None
        return answer_of(self._child, message, answer_seconds(self._limits), heard)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


class ServerRunner(Runner):
    """One member in a station, which it shares with the others."""

    def __init__(self, member: Member, station: Station, threads: int) -> None:
        super().__init__(member, threads)
        self._station = station
        self._session = 0
        self._told: list[Message] = []

    def ask(
        self,
        message: Message,
        heard: Callable[[float, float], None] | None = None,
    ) -> Message:
        """As a `Runner`'s. Where the server is lost over it twice that is this one's failure."""
        message = {**message, "mark": self.member.mark}
        for attempt in range(1, _MOST_LOST + 1):
            try:
                self._be_loaded()
                answer = self._station.ask(message, heard)
            except ChildLost as error:
                self._station.close()
                if attempt == _MOST_LOST:
                    address = self._station.machine.get("address")
                    why = lost_reason(error)
                    raise CellFailure(f"the server at {address} was lost: it {why}") from None
            else:
                break
        if message["do"] in TOLD_AGAIN:
            self._told.append(message)
        return answer

    def _be_loaded(self) -> None:
        """Have the network where it was before, in the session that there is now."""
        self._station.open()
        if self._session != self._station.session:
            for message in self._told:
                self._station.ask(message, None)
            self._session = self._station.session

    def renew(self) -> None:
        """The process is the server's."""

    def close(self) -> None:
        """The session is the station's."""


class ServerGroup(Group):
    """A group on a server that runs code for `target`; the rest is as for any group."""

    def __init__(self, servers: Servers, target: TargetSpec, settings: GroupSettings) -> None:
        super().__init__(settings)
        assert target.device.key is not None
        self._station = Station(servers, target.device.key, self._limits)

    def measure(self, members: Sequence[Member]) -> dict[str, Measured]:
        try:
            return super().measure(members)
        finally:
            self._station.close()
            self.machine = {"server": self._station.machine}

    def _runner(self, member: Member) -> Runner:
        if not member.mark:  # a reference
            return super()._runner(member)
        return ServerRunner(member, self._station, self._threads)

    def _kernels(self, runner: Runner, inputs: Path) -> None:
        """No instrument sees the kernels over RPC."""
