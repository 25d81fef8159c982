"""Runs a tracker for TVM's RPC: servers make themselves known to it, and clients ask it for one.

TVM's own tracker offers any server that has registered, can be stopped by anybody who
reaches it, and runs for ever in its loop once it is out of file descriptors. This one speaks the
same protocol, offers the servers that answer, and closes the connection of a peer that sends
something else than a message.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter

from harness.devices.servers.listening import keep_alive, listening_socket
from harness.devices.servers.scheduler import Offer, Request, Scheduler
from harness.devices.servers.tracker import Address
from harness.devices.servers.tracker_protocol import (
    GREETING,
    KEY,
    MOST_BYTES,
    SERVER,
    SIZE_BYTES,
    Code,
    packed,
    size_of,
)

_GREETING_SECONDS = 5.0
_MOST_CONNECTIONS = 512
_OTHER_FILES = 64
_MOST_REQUEST_BYTES = 1 << 16
_MOST_REQUESTS = 16
"""So many a connection may wait for at a time."""

_Port = Annotated[int, Field(gt=0, lt=65536)]
_Host = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,255}$")]
_Key = Annotated[str, StringConstraints(pattern=KEY)]
_Word = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,512}$")]
_Priority = Annotated[float, Field(allow_inf_nan=False)]


class _Description(BaseModel):
    """A server's description of itself."""

    key: Annotated[str, StringConstraints(pattern=rf"^{SERVER}[!-~]{{1,128}}$")]
    addr: tuple[_Host | None, _Port]


_MESSAGE: TypeAdapter[tuple[Any, ...]] = TypeAdapter(
    tuple[Literal[Code.PING, Code.GET_PENDING_MATCHKEYS, Code.SUMMARY]]
    | tuple[Literal[Code.STOP], str]
    | tuple[Literal[Code.PUT], _Key, tuple[_Port, _Word], _Host | None]
    | tuple[Literal[Code.REQUEST], _Key, str, _Priority]
    | tuple[Literal[Code.UPDATE_INFO], _Description]
)


def run_tracker(host: str, port: int, tell: Callable[[str], None]) -> None:
    """Run a tracker until this process ends. Raises InputError where it cannot listen."""
    listening = listening_socket(Address(host=host, port=port), 1)
    tell(f"the tracker listens at {Address(host=host, port=port)}")
    asyncio.run(_run(listening))


async def _run(listening: socket.socket) -> None:
    tracker = _Tracker()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(tracker), sock=listening)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()


class _Tracker:
    """All connections, and the servers that they get."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self._connections: dict[_Connection, None] = {}
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # For each its server may be asked at the same time whether it answers.
        self._most = max(1, min(_MOST_CONNECTIONS, (allowed - _OTHER_FILES) // 2))

    def add(self, connection: _Connection) -> None:
        """Know a connection; where there are too many close the one that matters least."""
        if len(self._connections) >= self._most:
            least = min(self._connections, key=self._worth)
            self.remove(least)
            least.close()
        self._connections[connection] = None

    def _worth(self, connection: _Connection) -> tuple[bool, bool, bool, float]:
        """Servers that answer matter most, then clients that wait for one, then connections that
        have at least greeted; of two alike the one that was heard last."""
        return (
            self.scheduler.answers(connection),
            self.scheduler.requests(connection) > 0,
            connection.greeted,
            connection.heard,
        )

    def remove(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)
        self.scheduler.forget(connection)

    def summary(self) -> dict[str, Any]:
        """The servers that answered when they were last asked, how many of each key are free, and
        how many requests wait for one; in the form of TVM's tracker."""
        servers = [
            each.description
            for each in self._connections
            if each.description is not None and self.scheduler.answers(each)
        ]
        keys = [server["key"].removeprefix(SERVER) for server in servers]
        return {"queue_info": self.scheduler.summary(keys), "server_info": servers}


class _Connection(asyncio.Protocol):
    """The connection of a server or a client."""

    def __init__(self, tracker: _Tracker) -> None:
        self._tracker = tracker
        self._data = bytearray()
        self.greeted = False
        self.heard = 0.0
        """When it last sent something, in seconds of the event loop's clock."""
        self.description: dict[str, Any] | None = None
        """A server's description of itself."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MOST_BYTES)
        self._host = str(transport.get_extra_info("peername")[0])
        keep_alive(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        self._deadline = loop.call_later(_GREETING_SECONDS, self.close)
        self._tracker.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self._tracker.remove(self)

    def pause_writing(self) -> None:
        """Peers that do not read their answers are not waited for."""
        self.close()

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        self._data += data
        try:
            while not self._transport.is_closing() and (part := self._next()) is not None:
                self._receive(part)
        except ValueError:
            self.close()

    def _next(self) -> bytes | None:
        """The next whole message, or the greeting; None where it is not there yet. Raises
        ValueError for a message that is too long."""
        if not self.greeted:
            size, start = len(GREETING), 0
        elif len(self._data) < SIZE_BYTES:
            return None
        else:
            size, start = size_of(self._data[:SIZE_BYTES], _MOST_REQUEST_BYTES), SIZE_BYTES
        if len(self._data) < start + size:
            return None
        part = bytes(self._data[start : start + size])
        del self._data[: start + size]
        return part

    def _receive(self, part: bytes) -> None:
        """Raises ValueError for an invalid message."""
        if self.greeted:
            self._carry_out(_MESSAGE.validate_json(part))
        elif part == GREETING:
            self.greeted = True
            self._deadline.cancel()
            self._transport.write(GREETING)
        else:
            raise ValueError("no greeting of a tracker's client")

    def _carry_out(self, message: tuple[Any, ...]) -> None:
        scheduler = self._tracker.scheduler
        match message:
            case (Code.PING,):
                self._answer(Code.SUCCESS)
            case (Code.GET_PENDING_MATCHKEYS,):
                self._answer(scheduler.words(self))
            case (Code.SUMMARY,):
                self._answer([Code.SUCCESS, self._tracker.summary()])
            case (Code.STOP, _):
                self._answer(Code.FAIL)
            case (Code.UPDATE_INFO, description):
                host, port = description.addr
                self.description = {"key": description.key, "addr": [host or self._host, port]}
                self._answer(Code.SUCCESS)
            case (Code.PUT, key, (port, word), host):
                self._answer(Code.SUCCESS)
                scheduler.put(Offer(self, key, host or self._host, port, word))
            case (Code.REQUEST, key, _, priority):
                if scheduler.requests(self) >= _MOST_REQUESTS:
                    raise ValueError("too many requests")
                scheduler.request(Request(self, key, priority, self._grant))

    def _grant(self, offer: Offer) -> None:
        self._answer([Code.SUCCESS, [offer.host, offer.port, offer.word]])

    def _answer(self, answer: Any) -> None:
        self._transport.write(packed(answer))
