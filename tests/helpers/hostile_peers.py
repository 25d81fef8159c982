"""Hostile connections to a tracker and to a server, drawn from a seed."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from harness.devices.servers.tracker import Address
from harness.devices.servers.tracker_protocol import GREETING, Code, packed

_SERVER_MAGIC = struct.pack("<i", 0xFF271)
_WEB = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_SECURE = bytes.fromhex("16030100f8010000f40303") + bytes(200)
_NUMBERS = (-(2**31), -1, 0, 1, 2**16 + 1, 2**20 + 1, 2**31 - 1)
_READ_SECONDS = 0.01
_RESET = struct.pack("ii", 1, 0)


def _key(text: bytes) -> bytes:
    return _SERVER_MAGIC + struct.pack("<i", len(text)) + text


def _of_any(draw: random.Random) -> bytes:
    """What is no beginning of any protocol here."""
    return draw.choice(
        [b"", b"\x71", GREETING[:3], _WEB, _SECURE, draw.randbytes(draw.randint(1, 3000))]
    )


def _to_server(draw: random.Random, key: str) -> bytes:
    number = struct.pack("<i", draw.choice(_NUMBERS))
    word = f"client:{key}:{draw.random()}".encode()
    return draw.choice(
        [
            _of_any(draw),
            _SERVER_MAGIC,
            _SERVER_MAGIC + number[:2],
            _SERVER_MAGIC + number,
            _SERVER_MAGIC + number + word,
            _SERVER_MAGIC + struct.pack("<i", len(word)) + word[: len(word) // 2],
            _key(b""),
            _key(b"   "),
            _key(b"\xff\xfe\xfd"),
            _key(b"client:"),
            _key(f"server:{key}".encode()),
            _key(word),
            _key(word) + draw.randbytes(5000),
            _key(word + b" -timeout=nan"),
            _key(word + b" -timeout=" + b"9" * 400),
            _key(word + b" -timeout=x"),
        ]
    )


_NONSENSE = (None, True, -1, 0, 2**70, 1e308, "", "\0", "x" * 3000, [], [[]], {}, {"addr": 5})


def _to_tracker(draw: random.Random, key: str, dead_port: int) -> bytes:
    number = struct.pack("<i", draw.choice(_NUMBERS))
    nonsense = [draw.choice(_NONSENSE) for _ in range(draw.randint(0, 4))]
    known = draw.choice(list(Code))
    message = packed([known, *nonsense])
    said = draw.choice(
        [
            number,
            number[:3],
            number + b"[6]",
            struct.pack("<i", 60000) + b"[" * 60000,
            struct.pack("<i", 5) + b"[6],,",
            struct.pack("<i", 4) + b"\xff\xfe\xfd\xfc",
            message,
            message[: len(message) // 2],
            packed(draw.choice(_NONSENSE)),
            packed([draw.choice([-7, 8, 99, 2**40]), *nonsense]),
            packed([Code.STOP, ""]),
            packed([Code.PUT, key, [dead_port, f"{key}:0.5"], None]),
            packed([Code.PUT, key, [dead_port, "no colon"], "no.such.host.invalid"]),
            packed([Code.PUT, key, [2**20, f"{key}:0.5"], None]),
            packed([Code.UPDATE_INFO, {"key": f"server:{key}", "addr": [None, dead_port]}])
            + packed([Code.PUT, key, [dead_port, f"{key}:0.5"], None]),
            packed([Code.UPDATE_INFO, {"key": f"server:{key}", "addr": []}]),
            packed([Code.UPDATE_INFO, {"key": f"server:{key}"}]),
            packed([Code.REQUEST, f"other-{key}", "", 1]) * draw.randint(1, 40),
            packed([Code.REQUEST, f"other-{key}", "", draw.choice([1e308, -1])]),
            packed([Code.SUMMARY]) * draw.randint(1, 300),
        ]
    )
    return draw.choice([_of_any(draw), GREETING + said, GREETING + said, GREETING + said])


@dataclass
class HostilePeers:
    """Hostile connections, of which half are held open until this ends. Use as a context manager.

    `key` is the key of a sound server; the servers that they offer under it do not answer.
    """

    seed: int
    key: str
    made: int = 0
    _held: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> HostilePeers:
        self._draw = random.Random(self.seed)
        self._silent = socket.create_server(("127.0.0.1", 0))  # listens, and never answers
        return self

    def __exit__(self, *raised: object) -> None:
        for connection in [*self._held, self._silent]:
            connection.close()

    def to_server(self, address: Address) -> None:
        self._connect(address, _to_server(self._draw, self.key))

    def to_tracker(self, address: Address) -> None:
        dead_port = self._draw.choice([1, self._silent.getsockname()[1]])
        self._connect(address, _to_tracker(self._draw, self.key, dead_port))

    def _connect(self, address: Address, data: bytes) -> None:
        connection = socket.create_connection((address.host, address.port), 10)
        self.made += 1
        with suppress(OSError):  # it was closed meanwhile, as it should be
            connection.sendall(data)
        self._draw.choice([self._held.append, self._held.append, _leave, _reset])(connection)


def _leave(connection: socket.socket) -> None:
    connection.settimeout(_READ_SECONDS)
    with suppress(OSError):
        connection.recv(1 << 16)
    connection.close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
