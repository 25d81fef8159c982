"""Asks TVM's RPC tracker which servers it knows, and for one that is free.

TVM's own client waits for ever where a tracker does not answer, and can wait for nothing else
beside it. The protocol is short: after a number that each side says first, every message is its
length, as four bytes, and JSON.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.documents import Frozen
from harness.errors import HarnessError, InputError

TRACKER_VARIABLE = "LAYEREDGE_TRACKER"
TRACKER_PORT = 9190
DESCRIPTION = "layeredge.description"
"""The function of our servers that says what machine they are, in JSON."""
_MAGIC = 0x2F271
_SUCCESS, _REQUEST, _SUMMARY = 0, 4, 6
_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_SERVER = "server:"


class TrackerLost(HarnessError):
    """The tracker does not answer, or what answers is none; the text has the remedy."""


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
    """A server that the tracker gives away, and the word that it expects from who comes."""

    address: Address
    word: str


class Servers(Frozen):
    """Where a sweep finds servers: their tracker, and how many of a key it uses at most. What they
    measure is compiled on the Dask cluster of that address, or on this machine."""

    tracker: Address
    most: int | None = None
    build_cluster: str | None = None


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
                self._socket.sendall(struct.pack("<i", _MAGIC))
                if self._number() != _MAGIC:
                    raise ValueError("no tracker's greeting")
        except TrackerLost:
            self.close()
            raise

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def fileno(self) -> int:
        """What `select` waits on until a request is granted."""
        return self._socket.fileno()

    def servers(self) -> list[Server]:
        """All servers there are, by key and address."""
        summary = self._ask([_SUMMARY])
        found = [
            Server(
                key=info["key"].removeprefix(_SERVER),
                address=Address(host=str(info["addr"][0]), port=info["addr"][1]),
            )
            for info in summary["server_info"]
        ]
        return sorted(found, key=lambda server: (server.key, str(server.address)))

    def free(self) -> Mapping[str, int]:
        """How many servers of each key wait for work."""
        queues = self._ask([_SUMMARY])["queue_info"]
        return {key: int(queue["free"]) for key, queue in queues.items()}

    def request(self, key: str) -> None:
        """Ask for a server of a key, without waiting: `granted` has it once there is one."""
        self._send([_REQUEST, key, "", 1])

    def granted(self) -> Grant:
        """The server that was asked for; waits for it."""
        host, port, word = self._answer()
        return Grant(address=Address(host=host, port=port), word=word)

    def close(self) -> None:
        self._socket.close()

    def _ask(self, message: list[Any]) -> Any:
        self._send(message)
        return self._answer()

    def _send(self, message: list[Any]) -> None:
        data = json.dumps(message).encode()
        with self._answering():
            self._socket.sendall(struct.pack("<i", len(data)) + data)

    def _answer(self) -> Any:
        with self._answering():
            size = self._number()
            if not 0 < size <= _MOST_BYTES:
                raise ValueError(f"a message of {size} bytes")
            status, answer = json.loads(self._received(size))
            if status != _SUCCESS:
                raise ValueError(f"the code {status}")
            return answer

    def _number(self) -> int:
        (number,) = struct.unpack("<i", self._received(4))
        return int(number)

    def _received(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise OSError("it closed the connection")
            data += part
        return data

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say of what goes wrong in the block that the tracker does not answer."""
        try:
            yield
        except (OSError, ValueError) as error:
            why = "something else listens there" if isinstance(error, ValueError) else error
            raise TrackerLost(
                f"the tracker at {self._address} does not answer ({why}); start it: layeredge "
                f"devices tracker, or name another with --tracker or {TRACKER_VARIABLE}"
            ) from None
