"""Asks TVM's RPC tracker which servers it knows, and for one that is free.

TVM's own client waits for ever where a tracker does not answer, and can wait for nothing else
beside it.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from harness.devices.servers.tracker_protocol import (
    GREETING,
    SERVER,
    SIZE_BYTES,
    Code,
    packed,
    size_of,
)
from harness.errors import HarnessError, InputError
from harness.specs.documents import Frozen

TRACKER_VARIABLE = "LAYEREDGE_TRACKER"
TRACKER_PORT = 9190
DESCRIPTION = "layeredge.description"
"""The function of our servers that describes their machine, in JSON."""
_SECONDS = 5.0


class TrackerLost(HarnessError):
    """The tracker does not answer, or another program does; the text has the remedy."""


class Address(Frozen):
    """A host and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """An address from `HOST:PORT`. Raises InputError for anything else."""
        found = re.fullmatch(r"\[?([^\s\[\]]+?)\]?:(\d{1,5})", text)
        if found is None or not 0 < int(found[2]) < 65536:
            raise InputError(f"'{text}' is no address: expected HOST:PORT, such as 127.0.0.1:9190")
        return cls(host=found[1], port=int(found[2]))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Server(Frozen):
    """A server that a tracker knows, free or not."""

    key: str
    address: Address


class Grant(Frozen):
    """A server that the tracker gives away, and the word that it expects from its client."""

    address: Address
    word: str


class Servers(Frozen):
    """Where a sweep finds servers: their tracker, and the most of a key that it uses. What they
    measure is compiled on the Dask cluster of that address, or on this machine."""

    tracker: Address
    most: int | None = None
    build_cluster: str | None = None


class _Queue(BaseModel):
    free: int


class _Description(BaseModel):
    """A server's description of itself."""

    key: str
    addr: tuple[str, int]


class _Summary(BaseModel):
    """A tracker's description of itself. Servers' parts of it are their own: they may be
    nonsense."""

    queue_info: dict[str, _Queue]
    server_info: list[Any]


_SUMMARY = TypeAdapter(tuple[Literal[Code.SUCCESS], _Summary])
_GRANT = TypeAdapter(tuple[Literal[Code.SUCCESS], tuple[str, int, str]])
_Answer = TypeVar("_Answer")


class Tracker:
    """A connection to the tracker at an address. Use as a context manager.

    Everything here raises TrackerLost where the tracker does not answer within some seconds.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        with self._answering():
            self._socket = socket.create_connection((address.host, address.port), _SECONDS)
        try:
            with self._answering():
                self._socket.sendall(GREETING)
                if self._received(len(GREETING)) != GREETING:
                    raise ValueError("no tracker's greeting")
        except TrackerLost:
            self.close()
            raise

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The file descriptor that `select` waits on until a request is granted."""
        return self._socket.fileno()

    def servers(self) -> list[Server]:
        """All servers there are, by key and address."""
        found = []
        for info in self._summary().server_info:
            with suppress(ValidationError):
                server = _Description.model_validate(info)
                host, port = server.addr
                key = server.key.removeprefix(SERVER)
                found.append(Server(key=key, address=Address(host=host, port=port)))
        return sorted(found, key=lambda server: (server.key, str(server.address)))

    def free(self) -> Mapping[str, int]:
        """How many servers of each key wait for work."""
        return {key: queue.free for key, queue in self._summary().queue_info.items()}

    def _summary(self) -> _Summary:
        self._send([Code.SUMMARY])
        return self._answer(_SUMMARY)[1]

    def request(self, key: str) -> None:
        """Ask for a server of a key, without waiting: `granted` has it once there is one."""
        self._send([Code.REQUEST, key, "", 1])

    def granted(self) -> Grant:
        """The server that was asked for; waits for it some seconds."""
        host, port, word = self._answer(_GRANT)[1]
        return Grant(address=Address(host=host, port=port), word=word)

    def close(self) -> None:
        self._socket.close()

    def _send(self, message: list[Any]) -> None:
        with self._answering():
            self._socket.sendall(packed(message))

    def _answer(self, form: TypeAdapter[_Answer]) -> _Answer:
        with self._answering():
            return form.validate_json(self._received(size_of(self._received(SIZE_BYTES))))

    def _received(self, size: int) -> bytes:
        """Raises OSError where so many bytes are not there within some seconds."""
        data, end = b"", time.monotonic() + _SECONDS
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise OSError("it closed the connection")
            data += part
            if time.monotonic() > end:
                raise TimeoutError("timed out")
        return data

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Report errors in the block as a tracker that does not answer."""
        try:
            yield
        except (OSError, ValueError) as error:
            why = "something else listens there" if isinstance(error, ValueError) else error
            raise TrackerLost(
                f"the tracker at {self._address} does not answer ({why}); start it: layeredge "
                f"devices tracker, or name another with --tracker or {TRACKER_VARIABLE}"
            ) from None
